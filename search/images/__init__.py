"""A picture file as the model sees it: turned, cropped, resized, with 8 bits per channel."""
