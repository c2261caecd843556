"""Workers in a Ray cluster: Ray places them and says when one is gone. Only this package imports Ray."""
