"""BentoML services of LiveAlign, and how they are built, tried and served."""
