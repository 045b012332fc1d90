"""Reading shared by several processes on one Redis: who reads which room, and the vectors that come of it."""
