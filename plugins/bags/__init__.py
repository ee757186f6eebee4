"""How the instances of a bag become one vector, and what is learned of bags."""
