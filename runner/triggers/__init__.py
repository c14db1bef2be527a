"""What invokes functions by itself: timers and watched directories, both through the queue."""
