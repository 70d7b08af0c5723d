"""Camera -> stylizer -> screen: the newest frame wins."""
