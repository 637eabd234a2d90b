"""Classify pictures with MediaPipe; run by .venv-mediapipe (no cckeras there).

python mediapipe_classify.py MODEL IMAGES.npy OUTPUT.json
"""

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

model, images, output = sys.argv[1:]
options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=model))
with vision.ImageClassifier.create_from_options(options) as classifier:
    answers = []
    for pixels in np.load(images):
        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, pixels)
        (found,) = classifier.classify(image).classifications
        answers.append({c.category_name: c.score for c in found.categories})
with open(output, "w", encoding="utf-8") as file:
    json.dump(answers, file)
