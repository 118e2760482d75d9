"""Results kept true: metafiles, the evidence for a number, and the tables made of both."""
