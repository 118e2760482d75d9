"""An exported segmentor with onnxruntime and numpy alone: FOLDER PICTURE MASK.npy"""
import json
import sys

import numpy as np
import onnxruntime


def bilinear(length, size):
    at = ((np.arange(length) + .5) * size / length - .5).clip(0, size - 1)
    return np.maximum(1 - abs(at[:, None] - np.arange(size)), 0)


def segment(folder, image):
    """Class numbers (height, width) of an RGB picture (height, width, 3) of 0 to 255."""
    with open(f'{folder}/pipeline.json') as file:  # tools/deploy.py wrote it beside the model
        steps = {s['type']: s for s in json.load(file)['pipeline']['tasks'][0]['transforms']}
    size = target = np.array(image.shape[:2])
    if 'Resize' in steps:
        target = np.array(steps['Resize']['size'][::-1])
        if steps['Resize']['keep_ratio']:
            scale = min(max(target) / max(size), min(target) / min(size))
            target = (size * scale + .5).astype(int)
    channels = image.transpose(2, 0, 1)[::1 if steps['Normalize']['to_rgb'] else -1]
    x = bilinear(target[0], size[0]) @ channels @ bilinear(target[1], size[1]).T
    mean, std = (np.reshape(steps['Normalize'][key], (3, 1, 1)) for key in ('mean', 'std'))
    session = onnxruntime.InferenceSession(f'{folder}/end2end.onnx')
    x = ((x - mean) / std)[None].astype(np.float32)
    mask = session.run(None, {'input': x})[0][0, 0]
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, mask.shape, strict=True))
    return mask[rows][:, columns]


if __name__ == '__main__':
    if sys.argv[2].endswith('.npy'):
        picture = np.load(sys.argv[2])
    else:
        from PIL import Image  # or whatever else you read pictures with
        picture = np.asarray(Image.open(sys.argv[2]).convert('RGB'))
    np.save(sys.argv[3], segment(sys.argv[1], picture))
