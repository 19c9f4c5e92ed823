"""Static files: hashed names and compressed copies, made once at start."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """A page never fails because a file it names is missing: the plain name is served then."""

    manifest_strict = False
