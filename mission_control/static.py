"""Static files: hashed names and compressed copies, made once at start."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """A page never fails because a file it names is missing: the plain name is served then.

    Modules import each other by their hashed names too, so that each is kept by the browser for as long as it is the
    same. They must not import in a circle: a name would depend on itself.
    """

    manifest_strict = False
    support_js_module_import_aggregation = True
