"""Files to begin from: methods, protocols, data sets, tracks, and packages of them."""
