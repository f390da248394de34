"""The README's picture of `rayzer demo`: python examples/demo_picture.py rayzer-demo-1 docs/images/demo.jpg

Above, two held-out views of each room; below, what the model draws of them.
"""

import sys
from pathlib import Path

from PIL import Image

SIZE, GAP = 240, 4

demo, target = Path(sys.argv[1]), Path(sys.argv[2])
drawn = [
    sorted((room / "renders").glob("*.png"))[view] for room in (demo, *sorted(demo.glob("room-*"))) for view in (0, 2)
]
step = SIZE + GAP
sheet = Image.new("RGB", (step * len(drawn) - GAP, 2 * step - GAP), "white")
for column, render in enumerate(drawn):
    for row, file in enumerate((render.parents[1] / "images" / render.name, render)):
        with Image.open(file) as picture:
            sheet.paste(
                picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC), (column * step, row * step)
            )
sheet.save(target, quality=85)
print(target)
