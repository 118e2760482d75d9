# CIRKD's random scale: 0.5, 0.6, ... 2.0 of the picture's own size.
random_scale = dict(
    type='RandomChoice',
    transforms=[[dict(type='Resize', scale_factor=tenth / 10, keep_ratio=True)]
                for tenth in range(5, 21)])
