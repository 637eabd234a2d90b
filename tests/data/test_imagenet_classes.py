"""The thousand classes: order, numbers and names that every network shares."""

from cckeras.data.imagenet_classes import imagenet_classes, imagenet_names


def test_they_are_a_thousand_sorted_by_number_with_names_of_their_own():
    classes = imagenet_classes()
    numbers = [one.wordnet for one in classes]
    assert len(set(numbers)) == 1000
    assert numbers == sorted(numbers)
    assert len(set(imagenet_names())) == 1000


def test_well_known_places():
    classes = imagenet_classes()
    assert classes[0].wordnet == "n01440764"
    assert classes[281].wordnet == "n02123045"
    assert classes[999].wordnet == "n15075141"
    assert "tench" in classes[0].name
    assert "tabby" in classes[281].name
