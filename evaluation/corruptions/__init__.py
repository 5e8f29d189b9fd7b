"""The corruptions of ImageNet-C (Hendrycks & Dietterich, arXiv:1903.12261) of images of any data set, made when they are needed.

`names.py` lists them, free of torch; there is one file for each of the paper's four families; `apply.py` applies any of them.
"""
