"""What proves where a result comes from: the commit of the code, and what is in a file."""
import hashlib
import subprocess


def sha256(path):
    """The sha256 of a file, in hex."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() \
            if hasattr(hashlib, 'file_digest') else hashlib.sha256(file.read()).hexdigest()


def clean_head(root):
    """The commit of the working tree, if the tree is that commit."""
    def git(*args):
        return subprocess.run(['git', '-C', root, *args], check=True, text=True,
                              capture_output=True).stdout.strip()
    try:
        dirty = git('status', '--porcelain', '--', 'mmkd', 'configs/_base_', 'tools')
        head = git('rev-parse', 'HEAD')
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f'{root} is no git repository; give --git-sha ({error})') from None
    if dirty:
        raise ValueError('the code has uncommitted changes, so HEAD is not what was trained; '
                         f'give --git-sha\n{dirty}')
    return head
