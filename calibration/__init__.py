"""From images to the activation ranges of a graph."""
