"""What every campaign of measuring shares: `benchmarks`, which measures how good rankless is, and `torture`, which tries to break it.

- `data`: real tensors as everyone who is compared gets them, and the cells hidden from them;
- `machine`: where, with what versions and with what code a figure was measured;
- `store`: finished cells in a csv, so that a long campaign can be run in several goes;
- `page`: pages of results in Markdown.
"""
