"""How the sample library is made: speech, telephone sound, and the timing of a conversation."""
