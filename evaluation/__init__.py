"""A backbone and a data set in, numbers out: kNN, linear, finetune."""
