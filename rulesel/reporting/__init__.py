"""Reports as single HTML files: figures are computed as plain values first, then rendered; nothing is fetched.

Rules, documents and model replies are untrusted text: templates escape them, and charts build on escaped strings.
"""
