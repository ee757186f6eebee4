"""Methods of class-incremental learning."""
