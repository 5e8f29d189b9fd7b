"""Views that several methods share. Each method's own are its paper's; sweep files change any of them. Free of torch."""

from .config import ColorJitter, GaussianBlur, Range, Solarize, ViewConfig, ViewsConfig

MOCO_JITTER = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
BYOL_JITTER = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)


def simclr_views(count: int = 2) -> ViewsConfig:
    """Strong jitter, blur on every other crop: SimCLR (arXiv:2002.05709, app. A)."""
    return ViewsConfig(global_views=(ViewConfig(count=count),))


def moco_views(count: int = 2) -> ViewsConfig:
    """MoCo v2 (arXiv:2003.04297), and SimSiam after it: larger crops and milder jitter than SimCLR's."""
    return ViewsConfig(global_views=(ViewConfig(count=count, scale=(0.2, 1.0), jitter=MOCO_JITTER),))


def byol_views(scale: Range = (0.08, 1.0)) -> ViewsConfig:
    """One view blurred always, the other rarely and solarized at times: BYOL (arXiv:2006.07733, app. B)."""
    return ViewsConfig(global_views=asymmetric_pair(scale))


def asymmetric_pair(scale: Range) -> tuple[ViewConfig, ViewConfig]:
    """BYOL's two views, as also DINO and its kin take them for their large crops."""
    first = ViewConfig(scale=scale, interpolation="bicubic", jitter=BYOL_JITTER, blur=GaussianBlur(p=1.0))
    second = first.model_copy(update={"blur": GaussianBlur(p=0.1), "solarize": Solarize(p=0.2)})
    return first, second


def dino_views(global_scale: Range = (0.4, 1.0), local_scale: Range = (0.05, 0.4), local_count: int = 8) -> ViewsConfig:
    """Two large crops and several of 96 pixels (where the large ones have 224): DINO (arXiv:2104.14294)."""
    local = ViewConfig(
        count=local_count,
        resolution=96 / 224,
        scale=local_scale,
        interpolation="bicubic",
        jitter=BYOL_JITTER,
        blur=GaussianBlur(p=0.5),
    )
    return ViewsConfig(global_views=asymmetric_pair(global_scale), local_views=(local,))


def swav_views() -> ViewsConfig:
    """Two large crops and six small ones, all with SimCLR's strong colours: SwAV (arXiv:2006.09882, app. A)."""
    local = ViewConfig(count=6, resolution=96 / 224, scale=(0.05, 0.14))
    return ViewsConfig(global_views=(ViewConfig(count=2, scale=(0.14, 1.0)),), local_views=(local,))


def crop_views(scale: Range = (0.2, 1.0), count: int = 1) -> ViewsConfig:
    """Crops and flips alone: MAE (arXiv:2111.06377) and other masked models."""
    view = ViewConfig(count=count, scale=scale, interpolation="bicubic", jitter=None, grayscale=0.0, blur=None)
    return ViewsConfig(global_views=(view,))
