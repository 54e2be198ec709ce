"""Archives of Taiwan's minute-by-minute VD records, MOTC traffic standard 2.0 in XML and JSON."""
