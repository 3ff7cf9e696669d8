import pytest
import torch

from cosmos.config.params import LossParams
from cosmos.model.attention_maps import attention_maps
from cosmos.model.cosmos import Cosmos
from cosmos.model.cross_attention import CrossAttentionPool
from tests.model.planted import patch_image, planted_model, tokens
from tests.model.test_encoders import SMALL

IMAGE = patch_image(red=(1, 2), blue=(3, 0))


@pytest.mark.parametrize(("word", "place"), [("red", (1, 2)), ("blue", (3, 0))])
def test_a_word_attends_to_the_patch_that_is_planted_for_it(word: str, place: tuple[int, int]) -> None:
    maps = attention_maps(planted_model(), IMAGE, tokens("a red and a blue patch", word))
    assert maps.of_texts.shape == (2, 4, 4)
    assert maps.of_texts[1][place] > 0.99


def test_an_image_attends_to_the_word_that_is_planted_for_it() -> None:
    maps = attention_maps(planted_model(), IMAGE, tokens("red blue a", "red"))
    assert maps.of_image.argmax() == 2  # behind the start of the text and red
    assert maps.of_image[2] > 0.99


def test_a_caption_attends_to_the_patches_of_all_its_words() -> None:
    maps = attention_maps(planted_model(), IMAGE, tokens("red blue"))
    assert maps.of_texts[0][1, 2] == pytest.approx(0.5, abs=0.01)
    assert maps.of_texts[0][3, 0] == pytest.approx(0.5, abs=0.01)


def test_weights_add_up_to_1() -> None:
    torch.manual_seed(0)
    model = Cosmos(SMALL, LossParams(), 32).eval()
    maps = attention_maps(model, torch.randn(3, 32, 32), tokens("a red patch", "red", "patch"))
    torch.testing.assert_close(maps.of_texts.sum(dim=(1, 2)), torch.ones(3))
    torch.testing.assert_close(maps.of_image.sum(), torch.tensor(1.0))


def test_weights_are_those_that_the_pool_pools_by() -> None:
    torch.manual_seed(0)
    pool = CrossAttentionPool(dim=8, heads=1).eval()
    queries, states = torch.randn(2, 3, 8), torch.randn(3, 5, 8)
    keys = pool.ln_k(states)
    values = keys @ pool.attn.in_proj_weight[16:].T + pool.attn.in_proj_bias[16:]
    pooled = pool.attn.out_proj(torch.einsum("vbl,bld->vbd", pool.weights(queries, states), values))
    torch.testing.assert_close(pooled, pool(queries, states))
