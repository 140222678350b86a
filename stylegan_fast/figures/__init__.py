"""Pictures made of pictures: sheets of samples and the figures of the paper."""
