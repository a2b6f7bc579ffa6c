// Code and tables that are wider than the page are scrolled by keys, too; the theme makes them so for a mouse alone.
addEventListener("load", () => {
  for (const wide of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) wide.tabIndex = 0;
});
