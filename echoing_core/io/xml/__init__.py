"""ECGs in XML: GE MUSE, Philips, HL7 aECG."""
