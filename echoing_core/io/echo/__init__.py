"""Echo clips from AVI and ultrasound DICOM."""
