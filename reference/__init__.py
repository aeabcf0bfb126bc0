"""The same by autograd: the article's networks, networks of any depth, and a twin of each rule."""
