"""Everything that says ``st.`` and is shared by the pages."""
