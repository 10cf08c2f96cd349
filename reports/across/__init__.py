"""Several runs at a time: compared with one another, through time, and a folder of them as a site."""
