"""How good a prediction is: Dice and HD95 of each region, for every subset of modalities, as the papers report them."""
