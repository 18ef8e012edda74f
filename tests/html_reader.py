"""What a page says, read back."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Tags with their attributes, and the text between."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]
