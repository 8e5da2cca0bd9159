"""Names and titles that try to be more than text."""

NAMES = [
    "<script>window.ran = 1</script>", "</script><script>window.ran = 1</script>", "<img src=x onerror=window.ran=1>",
    '"><img src=x onerror=window.ran=1>', "' onmouseover='window.ran=1", '" onfocus="window.ran=1" autofocus="',
    "<svg onload=window.ran=1>", "<style>body { display: none }</style>", "</style><script>window.ran = 1</script>",
    "<!-- never closed", "--><script>window.ran = 1</script>", "</title><script>window.ran = 1</script>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'>", "<a href='javascript:window.ran=1'>here</a>",
    "javascript:window.ran=1", "data:text/html,<script>window.ran=1</script>", "&lt;b&gt; &amp; &#60;",
    "<meta http-equiv=refresh content='0;url=about:blank'>", "<base href='https://example.org'>",
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "[bold red]markup[/]", "[link=https://example.org]here[/link]",
    "\u202egnp.exe", "one\rtwo", "=1+1", "+cmd|'calc'!A0", "-2+3", "@SUM(A1)",
]
assert len(NAMES) == 30

TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "nav", "div", "ul",
    "li", "main", "section", "article", "b", "span", "table", "caption", "thead", "tbody", "tr", "th", "td",
    "strong", "small", "figure", "figcaption", "img", "svg", "line", "text", "polyline", "details", "summary", "pre",
}
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "aria-label", "role", "tabindex",
    "aria-labelledby", "scope", "title", "src", "width", "height", "alt", "viewbox", "aria-hidden", "x", "y", "x1",
    "x2", "y1", "y2", "points", "text-anchor",
}
