"""Views: image crops of a sample and their colours, as drawn from the sample's own generator.

`draws` has the random numbers, `crops` cuts and resizes bytes. Colours, blur and normalisation follow in a
worker (`worker_colours`, OpenCV) or on the device that trains (`device_colours`, torch), from the same
coefficients (`changes`).
"""
