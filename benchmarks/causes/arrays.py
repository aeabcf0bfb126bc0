"""Functions of arrays, matrices and losses with their backward passes, and mistakes that people make in these."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def draw(*shapes, seed=0):
    """Tensors of standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def integers(below, *shape, seed=0):
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


# Images


def conv_by_unfold(x: Tensor, weight: Tensor, bias: Tensor):
    """A convolution by 3 × 3 with stride 2 and padding 1."""
    columns = F.unfold(x, 3, padding=1, stride=2)
    y = weight.flatten(1) @ columns + bias[:, None]
    return y.unflatten(2, [(size + 1) // 2 for size in x.shape[2:]])


def conv_by_unfold_backward(grad_out, out, x, weight, bias):
    height, width = grad_out.shape[2:]
    g = grad_out.flatten(2)
    columns = F.unfold(x, 3, padding=1, stride=2)
    grad_weight = (g @ columns.mT).sum(0).view_as(weight)
    grad_columns = (weight.flatten(1).mT @ g).unflatten(2, (height, width)).unflatten(1, (-1, 3, 3))
    padded = F.pad(torch.zeros_like(x), (1, 1, 1, 1))
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += grad_columns[:, :, i, j]
    return padded[:, :, 1:-1, 1:-1], grad_weight, g.sum((0, 2))


def mixed_pool(x: Tensor, mix: Tensor):
    """A mixture of the maximum and the mean of each 2 × 2 block, with a share for each channel."""
    blocks = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    share = mix.sigmoid()[:, None, None]
    return share * blocks.amax((3, 5)) + (1 - share) * blocks.mean((3, 5))


def mixed_pool_backward(grad_out, out, x, mix):
    blocks = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    largest = blocks.amax((3, 5), keepdim=True)
    mean = blocks.mean((3, 5), keepdim=True)
    share = mix.sigmoid()[:, None, None, None, None]
    g = grad_out[:, :, :, None, :, None]
    grad_blocks = g * share * (blocks == largest) + g * (1 - share) / 4
    grad_share = (g * (largest - mean)).sum((0, 2, 3, 4, 5))
    grad_mix = grad_share * mix.sigmoid() * (1 - mix.sigmoid())
    return grad_blocks.reshape(x.shape), grad_mix


def upsample_bilinear(x: Tensor, gain: Tensor):
    """An image twice as high and wide, times a gain for each channel."""
    return gain * F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def upsample_bilinear_backward(grad_out, out, x, gain):
    g = grad_out
    for axis in (2, 3):
        size = x.shape[axis]
        here = torch.arange(size, device=x.device)
        even, odd = g.unflatten(axis, (size, 2)).unbind(axis + 1)
        g = 0.75 * (even + odd)
        g = g.index_add(axis, (here - 1).clamp(min=0), 0.25 * even)
        g = g.index_add(axis, (here + 1).clamp(max=size - 1), 0.25 * odd)
    return g * gain, (g * x).sum((0, 2, 3)).view_as(gain)


def pixel_shuffle(x: Tensor, scale: Tensor):
    """Each four channels made one of twice the height and width, scaled, and squashed by tanh."""
    return (F.pixel_shuffle(x, 2) * scale[:, None, None]).tanh()


def pixel_shuffle_backward(grad_out, out, x, scale):
    n, channels, height, width = out.shape
    g = grad_out * (1 - out * out)
    grad_scale = (g * F.pixel_shuffle(x, 2)).sum((0, 2, 3))
    g = g * scale[:, None, None]
    g = g.reshape(n, channels, height // 2, 2, width // 2, 2)
    return g.permute(0, 1, 3, 5, 2, 4).reshape(x.shape), grad_scale


# Normalizations


def batch_norm_2d(x: Tensor, weight: Tensor, bias: Tensor):
    """Batch normalization of the channels of images, in training."""
    axes = (0, 2, 3)
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * (variance + 0.01).rsqrt() * weight[:, None, None] + bias[:, None, None]


def batch_norm_2d_backward(grad_out, out, x, weight, bias):
    axes = (0, 2, 3)
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    inverse = (variance + 0.01).rsqrt()
    hat = (x - mean) * inverse
    g = grad_out * weight[:, None, None]
    grad_x = inverse * (g - g.mean(axes, keepdim=True) - hat * (g * hat).mean(axes, keepdim=True))
    return grad_x, (grad_out * hat).sum(axes), grad_out.sum(axes)


def weight_norm_linear(x: Tensor, v: Tensor, length: Tensor):
    """A linear layer whose rows of weights have a direction and a length of their own."""
    weight = length[:, None] * v / v.norm(dim=1, keepdim=True)
    return x @ weight.mT


def weight_norm_linear_backward(grad_out, out, x, v, length):
    norm = v.norm(dim=1, keepdim=True)
    direction = v / norm
    weight = length[:, None] * direction
    grad_weight = grad_out.mT @ x
    grad_length = (grad_weight * direction).sum(1)
    grad_v = length[:, None] / norm * (grad_weight - grad_length[:, None] * direction)
    return grad_out @ weight, grad_v, grad_length


def mean_and_variance(x: Tensor):
    """The mean and the unbiased variance of each row."""
    return x.mean(1), x.var(1)


def mean_and_variance_backward(grad_out, out, x):
    grad_mean, grad_variance = grad_out
    mean, _ = out
    n = x.shape[1]
    centered = x - mean[:, None]
    grad_x = grad_mean[:, None] / n + 2 * grad_variance[:, None] * centered / (n - 1)
    return (grad_x,)


# Similarities and distances


def cosine_matrix(a: Tensor, b: Tensor):
    """The cosine between each row of a and each row of b."""
    return (a / a.norm(dim=1, keepdim=True)) @ (b / b.norm(dim=1, keepdim=True)).mT


def cosine_matrix_backward(grad_out, out, a, b):
    a_norm = a.norm(dim=1, keepdim=True)
    b_norm = b.norm(dim=1, keepdim=True)
    a_hat, b_hat = a / a_norm, b / b_norm
    g_a = grad_out @ b_hat
    g_b = grad_out.mT @ a_hat
    grad_a = (g_a - a_hat * (g_a * a_hat).sum(1, keepdim=True)) / a_norm
    grad_b = (g_b - b_hat * (g_b * b_hat).sum(1, keepdim=True)) / b_norm
    return grad_a, grad_b


def rbf_kernel(a: Tensor, b: Tensor, gamma: Tensor):
    """exp(−γ|a − b|²) of each row of a and each row of b."""
    return (-gamma * (a[:, None] - b).square().sum(2)).exp()


def rbf_kernel_backward(grad_out, out, a, b, gamma):
    grad_a, grad_b, grad_gamma = torch.zeros_like(a), torch.zeros_like(b), torch.zeros_like(gamma)
    for start in range(0, len(a), 4):
        rows = slice(start, start + 4)
        difference = a[rows, None] - b
        g = -grad_out[rows] * out[rows]
        grad_gamma += (g * difference.square().sum(2)).sum()
        pull = 2 * gamma * g[:, :, None] * difference
        grad_a[rows] = pull.sum(1)
        grad_b -= pull.sum(0)
    return grad_a, grad_b, grad_gamma


def mahalanobis(x: Tensor, center: Tensor, factor: Tensor):
    """The squared distance of each row of x from the center, measured by L Lᵀ, L the lower triangle of the factor."""
    z = torch.linalg.solve_triangular(factor.tril(), (x - center).mT, upper=False)
    return z.square().sum(0)


def mahalanobis_backward(grad_out, out, x, center, factor):
    lower = factor.tril()
    z = torch.linalg.solve_triangular(lower, (x - center).mT, upper=False)
    grad_z = 2 * z * grad_out
    h = torch.linalg.solve_triangular(lower.mT, grad_z, upper=True)
    grad_factor = -(h @ z.mT).tril()
    return h.mT, -h.sum(1), grad_factor


# Losses


def info_nce(a: Tensor, b: Tensor):
    """Each normalized row of a has to find its row of b among all rows of b; the temperature is 0.4."""
    logits = a / a.norm(dim=1, keepdim=True) @ b.mT / 0.4
    return (logits.logsumexp(1) - logits.diagonal()).mean()


def info_nce_backward(grad_out, out, a, b):
    norm = a.norm(dim=1, keepdim=True)
    hat = a / norm
    probabilities = (hat @ b.mT / 0.4).softmax(1)
    g = grad_out * (probabilities - torch.eye(len(a)).to(a)) / len(a)
    g = g / 0.4
    grad_hat = g @ b
    grad_a = (grad_hat - hat * (grad_hat * hat).sum(1, keepdim=True)) / norm
    return grad_a, g.mT @ hat


def triplet_margin(anchor: Tensor, positive: Tensor, negative: Tensor):
    """The mean of max(0, |anchor − positive|² − |anchor − negative|² + 1) over the rows."""
    excess = ((anchor - positive).square() - (anchor - negative).square()).sum(1) + 1
    return excess.clamp(min=0).mean()


def triplet_margin_backward(grad_out, out, anchor, positive, negative):
    excess = ((anchor - positive).square() - (anchor - negative).square()).sum(1) + 1
    g = 2 * grad_out / len(anchor) * (excess > 0)[:, None]
    grad_anchor = g * (negative - positive)
    grad_positive = g * (positive - anchor)
    grad_negative = g * (anchor - negative)
    return grad_anchor, grad_positive, grad_negative


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, importance: Tensor):
    """Cross-entropy with the labels smoothed by 0.2 and an importance of each class."""
    target = 0.8 * F.one_hot(labels, logits.shape[1]).to(logits) + 0.2 / logits.shape[1]
    return -(importance * target * logits.log_softmax(1)).sum(1).mean()


def smoothed_cross_entropy_backward(grad_out, out, logits, labels, importance):
    n, classes = logits.shape
    target = 0.8 * F.one_hot(labels, classes).to(logits) + 0.2 / classes
    weighted = importance * target
    grad_logits = grad_out / n * (logits.softmax(1) * weighted.sum(1, keepdim=True) - weighted)
    grad_importance = -grad_out * (target * logits.log_softmax(1)).mean(0)
    return grad_logits, None, grad_importance


def distillation(student: Tensor, teacher: Tensor):
    """T² times the divergence of the student from the teacher, both at the temperature T = 3."""
    log_p, log_q = (teacher / 3).log_softmax(1), (student / 3).log_softmax(1)
    return 9 * (log_p.exp() * (log_p - log_q)).sum(1).mean()


def distillation_backward(grad_out, out, student, teacher):
    log_p, log_q = (teacher / 3).log_softmax(1), (student / 3).log_softmax(1)
    p, q = log_p.exp(), log_q.exp()
    g = 9 * grad_out / len(student)
    ratio = log_p - log_q
    grad_student = g * (q - p) / 3
    grad_teacher = g * p * (ratio - (p * ratio).sum(1, keepdim=True)) / 3
    return grad_student, grad_teacher


def dice_loss(logits: Tensor, mask: Tensor):
    """One less the overlap of a soft mask with a given one, the mean of the images."""
    p = logits.sigmoid()
    overlap = 2 * (p * mask).sum((1, 2)) + 1
    total = (p + mask).sum((1, 2)) + 1
    return (1 - overlap / total).mean()


def dice_loss_backward(grad_out, out, logits, mask):
    p = logits.sigmoid()
    overlap = 2 * (p * mask).sum((1, 2), keepdim=True) + 1
    total = (p + mask).sum((1, 2), keepdim=True) + 1
    grad_p = grad_out / len(logits) * (overlap / total**2 - 2 * mask / total)
    return grad_p * p * (1 - p), None


# Matrices


def low_rank(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, keep: Tensor):
    """A linear layer with an adapter of low rank, of which the input has passed a dropout of the given mask."""
    return x @ weight + 1.5 * (x * keep / 0.8 @ a @ b)


def low_rank_backward(grad_out, out, x, weight, a, b, keep):
    dropped = x * keep / 0.8
    g = 1.5 * grad_out
    grad_b = (dropped @ a).mT @ g
    grad_hidden = g @ b.mT
    grad_a = dropped.mT @ grad_hidden
    grad_x = grad_out @ weight.mT + grad_hidden @ a.mT * keep / 0.8
    return grad_x, x.mT @ grad_out, grad_a, grad_b, None


def ridge(x: Tensor, y: Tensor, penalty: Tensor):
    """The coefficients of ridge regression, (xᵀx + penalty I)⁻¹ xᵀy."""
    return torch.linalg.solve(x.mT @ x + penalty * torch.eye(x.shape[1]).to(x), x.mT @ y)


def ridge_backward(grad_out, out, x, y, penalty):
    gram = x.mT @ x + penalty * torch.eye(x.shape[1]).to(x)
    h = torch.linalg.solve(gram, grad_out)
    grad_gram = -h @ out.mT
    grad_x = y @ h.mT + x @ (grad_gram + grad_gram.mT)
    return grad_x, x @ h, grad_gram.trace()


def packed_gaussian(packed: Tensor, x: Tensor):
    """½ xᵀPx − ½ log det P of each row of x; the lower triangle of P is given, less 9 on the diagonal."""
    n = x.shape[1]
    rows, columns = torch.tril_indices(n, n, device=x.device)
    lower = packed.new_zeros(n, n).index_put((rows, columns), packed)
    precision = lower + lower.tril(-1).mT + 9 * torch.eye(n).to(x)
    return ((x @ precision * x).sum(1) - precision.logdet()) / 2


def packed_gaussian_backward(grad_out, out, packed, x):
    n = x.shape[1]
    rows, columns = torch.tril_indices(n, n, device=x.device)
    lower = packed.new_zeros(n, n).index_put((rows, columns), packed)
    precision = lower + lower.tril(-1).mT + 9 * torch.eye(n).to(x)
    grad_precision = (x.mT @ (grad_out[:, None] * x) - grad_out.sum() * precision.inverse()) / 2
    grad_lower = 2 * grad_precision - grad_precision.diag().diag()
    return grad_lower[rows, columns], grad_out[:, None] * (x @ precision)


# Indices


def segment_mean(x: Tensor, segment: Tensor, weight: Tensor):
    """The weighted mean of the rows of each of four segments."""
    total = weight.new_zeros(4).index_add(0, segment, weight)
    return x.new_zeros(4, x.shape[1]).index_add(0, segment, weight[:, None] * x) / total[:, None]


def segment_mean_backward(grad_out, out, x, segment, weight):
    total = weight.new_zeros(4).index_add(0, segment, weight)
    g = (grad_out / total[:, None])[segment]
    grad_x = weight[:, None] * g
    grad_weight = (g * (x - out[segment])).sum(1)
    return grad_x, None, grad_weight


def embedding(table: Tensor, index: Tensor, position: Tensor):
    """Rows of a table, times 2, and those of the positions; the index 0 is padding and gives no row of the table."""
    return 2 * table[index] * (index != 0)[..., None] + position


def embedding_backward(grad_out, out, table, index, position):
    real = (index != 0)[..., None]
    grad_rows = 2 * grad_out * real
    grad_table = torch.zeros_like(table).index_put((index,), grad_rows, accumulate=True)
    return grad_table, None, grad_out.sum(0)


def mixture_of_experts(x: Tensor, experts: Tensor, routing: Tensor):
    """The sum of routing × tanh(x @ expert) over the experts."""
    return (routing.mT[:, :, None] * (x @ experts).tanh()).sum(0)


def mixture_of_experts_backward(grad_out, out, x, experts, routing):
    grad_x, grad_experts, grad_routing = (torch.zeros_like(each) for each in (x, experts, routing))
    for e in range(len(experts)):
        hidden = (x @ experts[e]).tanh()
        grad_routing[:, e] = (grad_out * hidden).sum(1)
        g = grad_out * routing[:, e, None] * (1 - hidden * hidden)
        grad_experts[e] = x.mT @ g
        grad_x += g @ experts[e].mT
    return grad_x, grad_experts, grad_routing


def fourier_features(x: Tensor, frequencies: Tensor):
    """The sines, and beside them the cosines, of 2π x @ frequencies."""
    angle = 2 * math.pi * x @ frequencies
    return torch.cat([angle.sin(), angle.cos()], 1)


def fourier_features_backward(grad_out, out, x, frequencies):
    sine, cosine = out.chunk(2, 1)
    grad_sine, grad_cosine = grad_out.chunk(2, 1)
    grad_angle = 2 * math.pi * (grad_sine * cosine - grad_cosine * sine)
    return grad_angle @ frequencies.mT, x.mT @ grad_angle


# name of the function: its inputs
INPUTS = {
    "conv_by_unfold": lambda: draw((2, 2, 7, 5), (3, 2, 3, 3), (3,)),
    "mixed_pool": lambda: draw((2, 3, 4, 6), (3,)),
    "upsample_bilinear": lambda: draw((2, 3, 4, 5), (3, 1, 1)),
    "pixel_shuffle": lambda: draw((2, 8, 3, 4), (2,)),
    "batch_norm_2d": lambda: draw((3, 4, 2, 5), (4,), (4,)),
    "weight_norm_linear": lambda: draw((6, 5), (4, 5), (4,)),
    "mean_and_variance": lambda: draw((7, 7)),
    "cosine_matrix": lambda: draw((6, 4), (6, 4)),
    "rbf_kernel": lambda: [*draw((7, 3), (5, 3)), torch.tensor(0.3, dtype=torch.float64)],
    "mahalanobis": lambda: [*draw((7, 5), (5,)), draw((5, 5), seed=1)[0] + 3 * torch.eye(5)],
    "info_nce": lambda: draw((6, 5), (6, 5)),
    "triplet_margin": lambda: draw((9, 4), (9, 4), (9, 4)),
    "smoothed_cross_entropy": lambda: [draw((8, 5))[0], integers(5, 8), draw((5,), seed=1)[0].exp()],
    "distillation": lambda: [2 * each for each in draw((6, 5), (6, 5))],
    "dice_loss": lambda: [draw((4, 5, 6))[0], integers(3, 4, 5, 6) == 0],
    "low_rank": lambda: [*draw((7, 6), (6, 4), (6, 2), (2, 4)), integers(5, 7, 6) > 0],
    "ridge": lambda: [*draw((8, 4), (8, 3)), torch.tensor(0.7, dtype=torch.float64)],
    "packed_gaussian": lambda: draw((21,), (5, 6)),
    "segment_mean": lambda: [draw((9, 4))[0], torch.tensor([2, 0, 1, 0, 3, 3, 0, 2, 1]), draw((9,), seed=1)[0].exp()],
    "embedding": lambda: [draw((7, 4))[0], torch.tensor([[3, 1, 3, 0, 6], [2, 3, 1, 5, 0]]), draw((5, 4), seed=1)[0]],
    "mixture_of_experts": lambda: [*draw((6, 4), (3, 4, 5)), draw((6, 3), seed=1)[0].softmax(1)],
    "fourier_features": lambda: draw((7, 3), (3, 5)),
}

# (function, the text in the source of its backward, what stands there by mistake, what a person would call it,
# a regular expression that a right name of the mistake would match)
MISTAKES = [
    (
        "conv_by_unfold",
        "2] += grad",
        "2] = grad",
        "where windows overlap, the last write wins in place of adding",
        r"overlap|last (write|one|window)|wins|overwrit|accumulat|in place of add|not (added|summed)|assign",
    ),
    (
        "conv_by_unfold",
        "padded[:, :, 1:-1, 1:-1]",
        "padded[:, :, :-2, :-2]",
        "the padding is cut off at one side only: the image is shifted by one",
        r"shift|padding|offset|off[- ]by[- ]one|displac|moved|crop",
    ),
    (
        "conv_by_unfold",
        "(weight.flatten(1).mT",
        "(weight.flip(2, 3).flatten(1).mT",
        "the kernel is flipped",
        r"flip|revers|mirror|rotat|turned",
    ),
    (
        "conv_by_unfold",
        "for i in range(3)",
        "for i in range(2)",
        "the last row of the kernel is lost",
        r"(row|kernel|tap|block|part|some).*(lost|left out|missing|omitted|skipped|forgotten)|one too few",
    ),
    (
        "mixed_pool",
        " / 4",
        " / 2",
        "the mean of four is divided by two only",
        r"divi|number of|factor|\bfour\b|/ ?[24]\b|twice|doubled?|size of",
    ),
    (
        "mixed_pool",
        "(blocks == largest)",
        "(blocks != largest)",
        "the mask of the maximum is inverted",
        r"invert|complement|not the (max|larg)|mask|wrong (elements|places)|argm(ax|in)"
        r"|all but the largest",
    ),
    (
        "mixed_pool",
        "(largest - mean)",
        "largest",
        "the share of the mean, 1 − share, is left out of the gradient of mix",
        r"(term|mean|part|share).*(left out|missing|forgotten|omitted)|lacks|without|1 [-−] share",
    ),
    (
        "upsample_bilinear",
        "(here - 1).clamp(min=0)",
        "(here - 1) % size",
        "the border wraps around to the other side",
        r"wrap|border|edge|boundar|periodic|circular|clamp|modul|first (row|col)",
    ),
    (
        "upsample_bilinear",
        "even, odd =",
        "odd, even =",
        "the even and the odd rows are swapped, so the neighbours are the wrong ones",
        r"swap|interchang|exchang|mixed up|even|\bodd\b|neighbou?r|\border|permut",
    ),
    (
        "pixel_shuffle",
        "(0, 1, 3, 5, 2, 4)",
        "(0, 1, 5, 3, 2, 4)",
        "the two axes within a block are swapped",
        r"swap|transpos|permut|\border|interchang|exchang|axes|mixed up",
    ),
    (
        "pixel_shuffle",
        "(1 - out * out)",
        "out * (1 - out)",
        "the derivative of the sigmoid in place of that of tanh",
        r"sigmoid|tanh|derivative of (the|an)|activation|squash",
    ),
    (
        "batch_norm_2d",
        "(g - g.mean(axes, keepdim=True) -",
        "(g -",
        "the dependence through the mean is left out",
        r"(through|of|by|from) the mean|mean.*(left out|missing|forgotten|constant)|cent(er|r)(ed|ing)|sums? .*zero",
    ),
    (
        "batch_norm_2d",
        "(g * hat).mean(axes, keepdim=True)",
        "(g * hat).mean((2, 3), keepdim=True)",
        "the mean is over the wrong axes, for each image by itself",
        r"ax[ei]s|dimension|over the (batch|images?)|(per|each) image|wrong mean",
    ),
    (
        "batch_norm_2d",
        "correction=0",
        "correction=1",
        "the variance is divided by n − 1 in place of n",
        r"n ?[-−] ?1|unbiased|bessel|correction|degrees? of freedom|sample variance|biased",
    ),
    (
        "weight_norm_linear",
        "(grad_weight - grad_length[:, None] * direction)",
        "grad_weight",
        "the norm is taken for a constant",
        r"constant|project|left out|identity|radial|tangent|(through|of) (the|its) norm|normali[sz]ation",
    ),
    (
        "weight_norm_linear",
        "length[:, None] / norm",
        "1 / norm",
        "the scale, the length, is forgotten in the gradient of v",
        r"scal|length|gain|factor|each row|per row",
    ),
    (
        "mean_and_variance",
        "grad_mean[:, None] / n + ",
        "",
        "the gradient of the first output, the mean, is forgotten",
        r"\b(first|one|mean)\b.*(forgotten|ignored|left out|missing|unused|lost|omitted)|ignore|output 0|grad_out\[0\]",
    ),
    (
        "mean_and_variance",
        "centered / (n - 1)",
        "centered / n",
        "n in place of n − 1",
        r"n ?[-−] ?1|unbiased|bessel|correction|degrees? of freedom|biased|divi|6/7|0\.857",
    ),
    (
        "mean_and_variance",
        "grad_variance[:, None]",
        "grad_variance",
        "what belongs to the rows is broadcast along the columns",
        r"broadcast|along|wrong ax[ei]s|rows? .*columns?|columns? .*rows?|transpos|per[- ](row|column)",
    ),
    (
        "cosine_matrix",
        "(g_a - a_hat * (g_a * a_hat).sum(1, keepdim=True))",
        "g_a",
        "the norm is taken for a constant",
        r"constant|project|left out|identity|radial|tangent|through (the|its) norm|normali[sz]ation",
    ),
    (
        "cosine_matrix",
        " / b_norm\n    return",
        "\n    return",
        "the division by the norm is forgotten in the gradient of b",
        r"divi|scal|factor|length|by (the|its) norm|each row|per row",
    ),
    (
        "cosine_matrix",
        "grad_out.mT @",
        "grad_out @",
        "grad_out is not transposed",
        r"transpos|swap|\.m?T\b|rows? .*columns?",
    ),
    (
        "rbf_kernel",
        "range(0, len(a), 4)",
        "range(0, len(a) - 3, 4)",
        "the last rows, a block that is not full, are lost",
        r"(last|rows?|block|chunk|some).*(lost|left out|missing|skipped|omitted|zero|dropped)|remainder|tail",
    ),
    (
        "rbf_kernel",
        "pull = 2 * gamma",
        "pull = gamma",
        "the 2 of the square's derivative is forgotten",
        r"\b2\b|\btwo\b|half|halved|twice|factor|scal|square",
    ),
    (
        "mahalanobis",
        "-(h @ z.mT).tril()",
        "-(h @ z.mT).triu()",
        "the upper triangle in place of the lower one",
        r"upper|triangle|triu|tril|triangular",
    ),
    (
        "mahalanobis",
        "(h @ z.mT)",
        "(z @ h.mT)",
        "the product is the transposed one",
        r"transpos|swap|\border|interchang|exchang|rows? .*columns?",
    ),
    (
        "mahalanobis",
        "-h.sum(1)",
        "h.sum(1)",
        "the sign of the gradient of the center is wrong",
        r"\bsign|minus|negated|opposite",
    ),
    (
        "info_nce",
        "g = g / 0.4",
        "g = g",
        "the division by the temperature is forgotten",
        r"temperature|0\.4|2\.5|scal|factor|divi",
    ),
    (
        "info_nce",
        ".softmax(1)",
        ".softmax(0)",
        "the softmax is over the wrong axis",
        r"ax[ei]s|dimension|softmax\(0\)|transpos|columns?",
    ),
    (
        "info_nce",
        "(probabilities - torch.eye(len(a)).to(a))",
        "probabilities",
        "the term of the positives, those on the diagonal, is left out",
        r"left out|positives?|diagonal|one[- ]hot|labels?|target",
    ),
    (
        "triplet_margin",
        " * (excess > 0)[:, None]",
        "",
        "the mask is forgotten: triplets beyond the margin count, too",
        r"mask|clamp|relu|hinge|\b(in)?active|max\(|kink|beyond|margin|rows? .*zero",
    ),
    (
        "triplet_margin",
        "(negative - positive)",
        "(anchor - positive)",
        "the term of the negatives is left out of the anchor's gradient",
        r"left out|lacks|omitted|one (term|path|way|use)|negatives?.*(missing|forgotten)|only the positive",
    ),
    (
        "triplet_margin",
        "grad_anchor, grad_positive, grad_negative",
        "grad_anchor, grad_negative, grad_positive",
        "the gradients of two inputs are swapped",
        r"swap|interchang|exchang|\border|mixed up|another input|gradient of (the )?(positive|negative|other)|permut",
    ),
    (
        "smoothed_cross_entropy",
        "0.8 * F.one_hot(labels, classes).to(logits) + 0.2 / classes",
        "F.one_hot(labels, classes).to(logits)",
        "the smoothing is forgotten",
        r"smooth|0\.[28]|hard|uniform",
    ),
    (
        "smoothed_cross_entropy",
        "logits.softmax(1) * weighted.sum(1, keepdim=True)",
        "logits.softmax(1)",
        "the targets are taken to sum to one, the importance of the class is missing there",
        r"sum to (one|1)|sum of (the )?target|importan|weight|scal|normali[sz]|factor|each row|per row",
    ),
    (
        "smoothed_cross_entropy",
        ".mean(0)",
        ".sum(0)",
        "a sum in place of the mean over the batch",
        r"sum (in place|instead|for)|of the mean|batch|divi|/ ?(n|8)\b|\b8\b|number of|size",
    ),
    (
        "distillation",
        "g * (q - p) / 3",
        "g * (q - p)",
        "the temperature of the inner derivative is forgotten",
        r"temperature.*(forgotten|missing|once|twice|left out)|inner|chain|factor|scal|divi|\b3\b|three",
    ),
    (
        "distillation",
        "(student / 3)",
        "student",
        "the student's softmax is without the temperature",
        r"without (the |a )?temperature|(student|logits?|softmax).*temperature|not (softened|divided)"
        r"|student stands in for|student / 3.* were not there",
    ),
    (
        "distillation",
        "(ratio - (p * ratio).sum(1, keepdim=True))",
        "ratio",
        "the softmax of the teacher is taken for exp: the dependence through its normalization is left out",
        r"normali[sz]|left out|constant|sums? .*(zero|rows?)|project|for exp|cent(er|r)(ed|ing)|jacobian|identity",
    ),
    (
        "dice_loss",
        "(overlap / total**2 - 2 * mask / total)",
        "(-2 * mask / total)",
        "the dependence through the denominator is left out",
        r"denominator|left out|constant|total|quotient|through",
    ),
    (
        "dice_loss",
        "2 * mask /",
        "2 * ~mask /",
        "the mask is inverted",
        r"invert|complement|mask.*(negat|opposite)|~|background|not in the mask|outside|1 [-−] mask",
    ),
    (
        "low_rank",
        "a.mT * keep / 0.8",
        "a.mT / 0.8",
        "the mask of the dropout is forgotten in the gradient of x",
        r"mask|dropout|\bkeep\b|dropped|kept",
    ),
    (
        "low_rank",
        "(dropped @ a).mT @ g",
        "(dropped @ a).mT @ (1.5 * g)",
        "the scale is applied twice",
        r"scale|twice|two times|1\.5|factor|squared",
    ),
    (
        "low_rank",
        "grad_out @ weight.mT + grad_hidden",
        "grad_hidden",
        "the path through the frozen weight is left out of the gradient of x",
        r"left out|omitted|lacks|one (way|term|use|branch)|path|skip|through (the )?(frozen |main )?(weight|layer)",
    ),
    (
        "ridge",
        "(grad_gram + grad_gram.mT)",
        "grad_gram",
        "xᵀx depends on x twice, only one of these is counted",
        r"one (of|term|path|factor|use)|twice|both|symmetr|product rule|transpos|half|two (terms|factors|uses)"
        r"|x.mT.* left out",
    ),
    (
        "ridge",
        "y @ h.mT + x",
        "x",
        "the dependence through xᵀy is left out",
        r"x(ᵀ|\^T|\.mT|\.T)? ?@? ?y|left out|omitted|right[- ]hand|of y\b|through (the )?y\b",
    ),
    (
        "ridge",
        "grad_gram.trace()",
        "-grad_gram.trace()",
        "the sign of the gradient of the penalty is wrong",
        r"\bsign|minus|negated|opposite",
    ),
    (
        "packed_gaussian",
        "2 * grad_precision - grad_precision.diag().diag()",
        "grad_precision",
        "the elements off the diagonal are not doubled",
        r"(off|outside|beside|besides|below|not on)[- ]?(the )?diagonal|not doubled|halved|half|once"
        r"|tril.* left out",
    ),
    (
        "packed_gaussian",
        " - grad_precision.diag().diag()",
        "",
        "the diagonal is doubled, too",
        r"(?<!off )(?<!off-)(?<!off the )\bdiagonal\b.*(doubl|twice|two|2)|(doubl|twice).* on the diagonal"
        r"|derivative of tril",
    ),
    (
        "packed_gaussian",
        "grad_lower[rows, columns]",
        "grad_lower[torch.triu_indices(n, n, device=x.device).unbind()]",
        "packed in the order of the upper triangle in place of the lower one",
        r"upper|\border|permut|triu|triangle|shuffl|wrong (place|position|index|indices)",
    ),
    (
        "segment_mean",
        "(x - out[segment])",
        "x",
        "the dependence through the total weight is left out",
        r"total|left out|constant|denominator|through|quotient|cent(er|r)(ed|ing)|omitted|(of|by) the mean",
    ),
    (
        "segment_mean",
        "(grad_out / total[:, None])[segment]",
        "grad_out[segment]",
        "the division by the sum of the segment's weights is forgotten",
        r"divi|each (row|segment)|per[- ](row|segment)|factor|scal|normali[sz]"
        r"|derivative of div .*left out",
    ),
    (
        "segment_mean",
        ".sum(1)",
        ".mean(1)",
        "the mean in place of the sum",
        r"mean (in place|instead|for|taken|where)|(in place|instead) of (the |a )?sum|quarter|\b4\b|0\.25|columns",
    ),
    (
        "embedding",
        "accumulate=True",
        "accumulate=False",
        "where an index is repeated, the last write wins in place of adding",
        r"repeat|duplicat|last (write|one)|wins|overwrit|accumulat|in place of add|not (added|summed)|more than once",
    ),
    (
        "embedding",
        "2 * grad_out * real",
        "2 * grad_out",
        "the mask of the padding is forgotten",
        r"mask|padding|index 0|row 0|first row|\breal\b"
        r"|index != 0.*left out",
    ),
    (
        "mixture_of_experts",
        "grad_x +=",
        "grad_x =",
        "only the last expert counts in the gradient of x, the sum is forgotten",
        r"last (expert|one|write)|overwrit|accumulat|the sum\b|not (added|summed)|wins|in place of add|only one|assign"
        r"|slices 0 to 1 of dimension 0 is lost",
    ),
    (
        "mixture_of_experts",
        "grad_out * routing[:, e, None] *",
        "grad_out *",
        "the weights of the routing are forgotten",
        r"routing|weights?\b|scal|factor|gate|each row|per row",
    ),
    (
        "mixture_of_experts",
        "(1 - hidden * hidden)",
        "(1 - hidden)",
        "the square in the derivative of tanh is forgotten",
        r"tanh|square|derivative of|activation|1 [-−] (h|y|t|out)",
    ),
    (
        "fourier_features",
        "grad_sine, grad_cosine =",
        "grad_cosine, grad_sine =",
        "the halves of grad_out are swapped",
        r"swap|interchang|exchang|half|halves|mixed up|\border|permut|wrong (slice|part|columns)",
    ),
    (
        "fourier_features",
        "cosine - grad_cosine",
        "cosine + grad_cosine",
        "the sign of the cosine's derivative is wrong",
        r"\bsign|minus|negated|opposite",
    ),
]
