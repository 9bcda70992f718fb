"""What goes wrong outside the library: exceptions of an application's functions, and texts for lines about faults."""
