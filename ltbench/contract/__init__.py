"""What methods, tracks and observers implement, and what they may see."""
