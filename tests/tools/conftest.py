"""What the tools' tests share."""

import os
import shutil

import pytest


@pytest.fixture
def own_material(own_folder, material):
    """The same, with links to what is in the folder `material` of a tool's tests."""
    shutil.copytree(material, own_folder, dirs_exist_ok=True, copy_function=os.link)
    return own_folder
