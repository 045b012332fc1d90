"""Pictures of a room: decoded in bounds, kept by their hash, and seen by an image encoder."""
