"""Tables checked before anybody reads them, and the page that says so."""
