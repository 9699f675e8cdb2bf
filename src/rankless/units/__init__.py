"""The units a fit happens in: frames, transforms, links of losses, each a way there and back."""
