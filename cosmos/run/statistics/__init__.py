"""Statistics of figures that are samples: intervals, differences between runs, and the winner among several.

A figure of a suite is a mean over images: `image_values` has what each image adds to it. From these follow
the interval of a figure (`seed_statistics`), the difference of two figures over the same images
(`differences`), and the verdict on several (`leads`). `answers` are those of a model on single samples. Pure
functions of numbers; numpy alone is imported.
"""
