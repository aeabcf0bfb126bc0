"""Functions of many fields with their backward passes, and mistakes that people make in these, held out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def draw(*shapes, seed=0):
    """Tensors of standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


# Physics and geometry


def quaternion_rotate(q: Tensor, v: Tensor):
    """Vectors turned by quaternions (w, x, y, z) of any length."""
    unit = q / q.norm(dim=1, keepdim=True)
    w, u = unit[:, :1], unit[:, 1:]
    t = 2 * torch.linalg.cross(u, v)
    return v + w * t + torch.linalg.cross(u, t)


def quaternion_rotate_backward(grad_out, out, q, v):
    norm = q.norm(dim=1, keepdim=True)
    unit = q / norm
    w, u = unit[:, :1], unit[:, 1:]
    t = 2 * torch.linalg.cross(u, v)
    grad_w = (grad_out * t).sum(1, keepdim=True)
    grad_t = w * grad_out + torch.linalg.cross(grad_out, u)
    grad_u = torch.linalg.cross(t, grad_out) + 2 * torch.linalg.cross(v, grad_t)
    grad_v = grad_out + 2 * torch.linalg.cross(grad_t, u)
    grad_unit = torch.cat([grad_w, grad_u], 1)
    grad_q = (grad_unit - unit * (unit * grad_unit).sum(1, keepdim=True)) / norm
    return grad_q, grad_v


def ray_box(origin: Tensor, direction: Tensor, lower: Tensor, upper: Tensor):
    """The length of each ray within a box, by the slabs between its faces."""
    a, b = (lower - origin) / direction, (upper - origin) / direction
    enter, leave = torch.minimum(a, b).amax(1), torch.maximum(a, b).amin(1)
    return (leave - enter).clamp(min=0)


def ray_box_backward(grad_out, out, origin, direction, lower, upper):
    a, b = (lower - origin) / direction, (upper - origin) / direction
    enter, first = torch.minimum(a, b).max(1, keepdim=True)
    leave, last = torch.maximum(a, b).min(1, keepdim=True)
    g = grad_out[:, None] * (leave > enter)
    grad_enter = torch.zeros_like(a).scatter(1, first, -g)
    grad_leave = torch.zeros_like(a).scatter(1, last, g)
    grad_a = torch.where(direction > 0, grad_enter, grad_leave) / direction
    grad_b = torch.where(direction > 0, grad_leave, grad_enter) / direction
    return -(grad_a + grad_b), -(grad_a * a + grad_b * b), grad_a.sum(0), grad_b.sum(0)


def screened_energy(position: Tensor, charge: Tensor):
    """The energy of each charge in the field of the others, screened by exp(−r)."""
    delta = position[:, None] - position
    here = torch.eye(len(charge)).to(position)
    r = (delta.square().sum(2) + here).sqrt()
    return charge * (((1 - here) * (-r).exp() / r) @ charge)


def screened_energy_backward(grad_out, out, position, charge):
    delta = position[:, None] - position
    here = torch.eye(len(charge)).to(position)
    r = (delta.square().sum(2) + here).sqrt()
    kernel = (1 - here) * (-r).exp() / r
    pulled = grad_out * charge
    grad_charge = grad_out * (kernel @ charge) + kernel @ pulled
    grad_r = -pulled[:, None] * charge * kernel * (1 + 1 / r)
    force = (grad_r / r)[:, :, None] * delta
    return force.sum(1) - force.sum(0), grad_charge


# Signals


def decimate(x: Tensor, taps: Tensor):
    """A convolution with four taps of which each second value is kept."""
    return x.unfold(1, 4, 2) @ taps.flip(0)


def decimate_backward(grad_out, out, x, taps):
    grad_frames = grad_out[:, :, None] * taps.flip(0)
    grad_taps = (grad_out[:, :, None] * x.unfold(1, 4, 2)).sum((0, 1))
    grad_x = torch.zeros_like(x)
    for t, frame in enumerate(grad_frames.unbind(1)):
        grad_x[:, 2 * t : 2 * t + 4] += frame
    return grad_x, grad_taps.flip(0)


def log_spectrum(x: Tensor, window: Tensor):
    """The logarithm of the power spectrum of windowed signals, by the matrices of the Fourier transform."""
    n = x.shape[1]
    angle = 2 * math.pi / n * torch.outer(torch.arange(n), torch.arange(n // 2 + 1)).to(x)
    windowed = x * window
    return ((windowed @ angle.cos()).square() + (windowed @ angle.sin()).square() + 0.5).log()


def log_spectrum_backward(grad_out, out, x, window):
    n = x.shape[1]
    angle = 2 * math.pi / n * torch.outer(torch.arange(n), torch.arange(n // 2 + 1)).to(x)
    cos, sin = angle.cos(), angle.sin()
    windowed = x * window
    real, imaginary = windowed @ cos, -windowed @ sin
    g = 2 * grad_out / (real.square() + imaginary.square() + 0.5)
    grad_windowed = (g * real) @ cos.mT - (g * imaginary) @ sin.mT
    return grad_windowed * window, (grad_windowed * x).sum(0)


# Statistics and losses


def mixture_likelihood(x: Tensor, logits: Tensor, mean: Tensor, log_std: Tensor):
    """The log-likelihood, up to a constant, of points in a mixture of normal distributions with axes of their own."""
    z = (x[:, None] - mean) / log_std.exp()
    return (logits.log_softmax(0) - (z.square() / 2 + log_std).sum(2)).logsumexp(1)


def mixture_likelihood_backward(grad_out, out, x, logits, mean, log_std):
    z = (x[:, None] - mean) / log_std.exp()
    joint = logits.log_softmax(0) - (z.square() / 2 + log_std).sum(2)
    g = grad_out[:, None] * joint.softmax(1)
    grad_logits = g.sum(0) - logits.softmax(0) * g.sum()
    pull = g[:, :, None] * z / log_std.exp()
    grad_log_std = (g[:, :, None] * (z.square() - 1)).sum(0)
    return -pull.sum(1), grad_logits, pull.sum(0), grad_log_std


def quantile_loss(prediction: Tensor, y: Tensor):
    """The pinball loss of predicted quantiles at equally spaced levels, the mean of all."""
    count = prediction.shape[1]
    levels = torch.arange(1, count + 1).to(y) / (count + 1)
    excess = y[:, None] - prediction
    return torch.maximum(levels * excess, (levels - 1) * excess).mean()


def quantile_loss_backward(grad_out, out, prediction, y):
    count = prediction.shape[1]
    levels = torch.arange(1, count + 1).to(y) / (count + 1)
    excess = y[:, None] - prediction
    slope = torch.where(excess > 0, levels, levels - 1)
    grad_excess = grad_out * slope / excess.numel()
    return -grad_excess, grad_excess.sum(1)


def weighted_bce(logits: Tensor, labels: Tensor, positive: Tensor, weight: Tensor):
    """Binary cross-entropy of soft labels, with a factor of each class's positives, the weighted mean of the rows."""
    each = -(positive * labels * F.logsigmoid(logits) + (1 - labels) * F.logsigmoid(-logits))
    return (weight[:, None] * each).sum() / weight.sum()


def weighted_bce_backward(grad_out, out, logits, labels, positive, weight):
    p = logits.sigmoid()
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    each = -(positive * labels * log_p + (1 - labels) * log_not_p)
    scale = grad_out / weight.sum()
    g = scale * weight[:, None]
    grad_logits = g * ((1 - labels) * p - positive * labels * (1 - p))
    grad_labels = g * (log_not_p - positive * log_p)
    grad_positive = -(g * labels * log_p).sum(0)
    return grad_logits, grad_labels, grad_positive, scale * (each.sum(1) - out)


# Layers


def factorization_machine(x: Tensor, w: Tensor, v: Tensor):
    """The linear terms and the products of all pairs of features, by the square of a sum less the sum of squares."""
    return x @ w + ((x @ v).square() - x.square() @ v.square()).sum(1) / 2


def factorization_machine_backward(grad_out, out, x, w, v):
    g = grad_out[:, None]
    total = x @ v
    grad_x = g * (w + total @ v.mT - x * v.square().sum(1))
    grad_v = x.mT @ (g * total) - (x.square().mT @ g) * v
    return grad_x, x.mT @ grad_out, grad_v


def graph_conv(x: Tensor, weight: Tensor, source: Tensor, target: Tensor):
    """The neighbours' values by weighted edges and the node's own, normalized by the degrees of both ends."""
    r = (1 + weight.new_zeros(len(x)).index_add(0, target, weight)).rsqrt()
    share = r[source] * weight * r[target]
    return (r.square()[:, None] * x).index_add(0, target, share[:, None] * x[source])


def graph_conv_backward(grad_out, out, x, weight, source, target):
    r = (1 + weight.new_zeros(len(x)).index_add(0, target, weight)).rsqrt()
    share = r[source] * weight * r[target]
    grad_x = (r.square()[:, None] * grad_out).index_add(0, source, share[:, None] * grad_out[target])
    grad_share = (grad_out[target] * x[source]).sum(1)
    grad_r = 2 * r * (grad_out * x).sum(1)
    grad_r = grad_r.index_add(0, source, grad_share * weight * r[target])
    grad_r = grad_r.index_add(0, target, grad_share * weight * r[source])
    grad_degree = -grad_r * r**3 / 2
    return grad_x, grad_share * r[source] * r[target] + grad_degree[target], None, None


def relative_attention(q: Tensor, k: Tensor, v: Tensor, table: Tensor):
    """Attention with a bias for each distance between a query and a key."""
    here = torch.arange(q.shape[1])
    distance = here[:, None] - here + len(here) - 1
    return (q @ k.mT / math.sqrt(q.shape[2]) + table[distance]).softmax(2) @ v


def relative_attention_backward(grad_out, out, q, k, v, table):
    here = torch.arange(q.shape[1])
    distance = here[:, None] - here + len(here) - 1
    scale = 1 / math.sqrt(q.shape[2])
    p = (q @ k.mT * scale + table[distance]).softmax(2)
    grad_p = grad_out @ v.mT
    grad_scores = p * (grad_p - (grad_p * p).sum(2, keepdim=True))
    grad_table = torch.zeros_like(table).index_add(0, distance.flatten(), grad_scores.sum(0).flatten())
    return grad_scores @ k * scale, grad_scores.mT @ q * scale, p.mT @ grad_out, grad_table


def sigmoid_attention(q: Tensor, k: Tensor, v: Tensor, keep: Tensor):
    """Attention with sigmoids in place of the softmax, and keys of padding left out."""
    s = (q @ k.mT / math.sqrt(q.shape[2]) - math.log(k.shape[1])).sigmoid()
    return (s * keep[:, None]) @ v


def sigmoid_attention_backward(grad_out, out, q, k, v, keep):
    scale = 1 / math.sqrt(q.shape[2])
    s = (q @ k.mT * scale - math.log(k.shape[1])).sigmoid()
    grad_v = (s * keep[:, None]).mT @ grad_out
    grad_s = grad_out @ v.mT
    grad_scores = grad_s * s * (1 - s) * keep.unsqueeze(1) * scale
    return grad_scores @ k, grad_scores.mT @ q, grad_v, None


def group_rms(x: Tensor, weight: Tensor):
    """Each group of three channels divided by its root mean square, and a weight for each channel."""
    groups = x.unflatten(1, (-1, 3))
    hat = groups * (groups.square().mean(2, keepdim=True) + 0.01).rsqrt()
    return hat.flatten(1) * weight


def group_rms_backward(grad_out, out, x, weight):
    groups = x.unflatten(1, (-1, 3))
    r = (groups.square().mean(2, keepdim=True) + 0.01).rsqrt()
    hat = groups * r
    g = (grad_out * weight).unflatten(1, (-1, 3))
    grad_groups = r * (g - hat * (g * hat).mean(2, keepdim=True))
    return grad_groups.flatten(1), (grad_out * hat.flatten(1)).sum(0)


def sharp_pool(x: Tensor, sharpness: Tensor):
    """The logarithm of the mean of exponentials over each image, with a sharpness of each channel."""
    flat = x.flatten(2)
    return ((sharpness[:, None] * flat).logsumexp(2) - math.log(flat.shape[2])) / sharpness


def sharp_pool_backward(grad_out, out, x, sharpness):
    flat = x.flatten(2)
    p = (sharpness[:, None] * flat).softmax(2)
    grad_x = (grad_out[:, :, None] * p).view_as(x)
    grad_sharpness = (grad_out * ((p * flat).sum(2) - out) / sharpness).sum(0)
    return grad_x, grad_sharpness


# Recurrences


def soft_spikes(x: Tensor, leak: Tensor):
    """A leaky integrator of the input that loses its charge as far as it fires."""
    decay = leak.sigmoid()
    v = s = torch.zeros_like(x[:, 0])
    spikes = []
    for t in range(x.shape[1]):
        v = decay * v * (1 - s) + x[:, t]
        s = (v - 1).sigmoid()
        spikes.append(s)
    return torch.stack(spikes, 1)


def soft_spikes_backward(grad_out, out, x, leak):
    decay = leak.sigmoid()
    carried, charges = [torch.zeros_like(x[:, 0])], []
    for t in range(x.shape[1]):
        charges.append(decay * carried[t] + x[:, t])
        carried.append(charges[t] * (1 - out[:, t]))
    grad_x, grad_decay = torch.zeros_like(x), torch.zeros_like(leak)
    grad_carried = torch.zeros_like(x[:, 0])
    for t in reversed(range(x.shape[1])):
        s = out[:, t]
        grad_s = grad_out[:, t] - grad_carried * charges[t]
        grad_x[:, t] = grad_carried * (1 - s) + grad_s * s * (1 - s)
        grad_decay += (grad_x[:, t] * carried[t]).sum(0)
        grad_carried = decay * grad_x[:, t]
    return grad_x, grad_decay * decay * (1 - decay)


def minimal_rnn(x: Tensor, w: Tensor, u: Tensor):
    """A recurrence whose only gate chooses between the state and the new value."""
    z = (x @ w).tanh()
    h = torch.zeros_like(z[:, 0])
    states = []
    for t in range(x.shape[1]):
        gate = (h @ u + z[:, t]).sigmoid()
        h = gate * h + (1 - gate) * z[:, t]
        states.append(h)
    return torch.stack(states, 1)


def minimal_rnn_backward(grad_out, out, x, w, u):
    z = (x @ w).tanh()
    before = F.pad(out[:, :-1], (0, 0, 1, 0))
    gate = (before @ u + z).sigmoid()
    g = torch.zeros_like(z[:, 0])
    grad_z, grad_u = torch.zeros_like(z), torch.zeros_like(u)
    for t in reversed(range(x.shape[1])):
        g = g + grad_out[:, t]
        f = gate[:, t]
        grad_gate = g * (before[:, t] - z[:, t]) * f * (1 - f)
        grad_z[:, t] = g * (1 - f) + grad_gate
        grad_u += before[:, t].mT @ grad_gate
        g = g * f + grad_gate @ u.mT
    grad_xw = grad_z * (1 - z * z)
    return grad_xw @ w.mT, (x.mT @ grad_xw).sum(0), grad_u


# Matrices


def matrix_root(a: Tensor):
    """The square root of the matrix a aᵀ + 1, by its eigenvectors."""
    values, vectors = torch.linalg.eigh(a @ a.mT + torch.eye(len(a)).to(a))
    return (vectors * values.sqrt()) @ vectors.mT


def matrix_root_backward(grad_out, out, a):
    values, vectors = torch.linalg.eigh(a @ a.mT + torch.eye(len(a)).to(a))
    root = values.sqrt()
    turned = vectors.mT @ grad_out @ vectors
    grad_square = vectors @ (turned / (root[:, None] + root)) @ vectors.mT
    return ((grad_square + grad_square.mT) @ a,)


INPUTS = {
    "quaternion_rotate": lambda: draw((7, 4), (7, 3)),
    "ray_box": lambda: [
        0.8 * draw((9, 3))[0],
        draw((9, 3), seed=2)[0],
        *(draw((2, 3), seed=1)[0].abs() + 0.5) * torch.tensor([[-1], [1]]),
    ],
    "screened_energy": lambda: draw((6, 3), (6,)),
    "decimate": lambda: draw((3, 12), (4,)),
    "log_spectrum": lambda: [draw((4, 8))[0], draw((8,), seed=1)[0].sigmoid()],
    "mixture_likelihood": lambda: [*draw((7, 3), (4,), (4, 3)), 0.3 * draw((4, 3), seed=1)[0]],
    "quantile_loss": lambda: draw((7, 5), (7,)),
    "weighted_bce": lambda: [
        draw((6, 6))[0],
        draw((6, 6), seed=1)[0].sigmoid(),
        *(each.exp() for each in draw((6,), (6,), seed=2)),
    ],
    "factorization_machine": lambda: draw((8, 5), (5,), (5, 5)),
    "graph_conv": lambda: [
        draw((6, 4))[0],
        draw((9,), seed=1)[0].exp(),
        torch.tensor([0, 1, 2, 2, 3, 4, 5, 5, 0]),
        torch.tensor([1, 2, 0, 3, 1, 1, 4, 2, 3]),
    ],
    "relative_attention": lambda: draw((3, 5, 4), (3, 5, 4), (3, 5, 4), (9,)),
    "sigmoid_attention": lambda: [
        *draw((3, 5, 4), (3, 5, 4), (3, 5, 4)),
        torch.arange(5) < torch.tensor([[5], [3], [2]]),
    ],
    "group_rms": lambda: draw((6, 9), (9,)),
    "sharp_pool": lambda: [draw((3, 4, 3, 5))[0], draw((4,), seed=1)[0].exp()],
    "soft_spikes": lambda: draw((3, 6, 4), (4,)),
    "minimal_rnn": lambda: draw((3, 5, 4), (4, 4), (4, 4)),
    "matrix_root": lambda: draw((5, 5)),
}

# (function, the text in the source of its backward, what stands there by mistake, what a person would call it,
# a regular expression that a right name of the mistake would match)
MISTAKES = [
    (
        "quaternion_rotate",
        "torch.linalg.cross(t, grad_out)",
        "torch.linalg.cross(grad_out, t)",
        "the factors of a cross product are swapped, so its sign is wrong",
        r"cross|\bsign|minus|negat|opposite|anti",
    ),
    (
        "quaternion_rotate",
        "w * grad_out + ",
        "",
        "the path through w t is left out of the gradient of t",
        r"left out|omitted|forgotten|missing|lacks|path|one (term|way|use|summand)|w ?[*·]? ?(t|grad_out|g)\b",
    ),
    (
        "quaternion_rotate",
        "[grad_w, grad_u]",
        "[grad_u, grad_w]",
        "the components are put together as (x, y, z, w) in place of (w, x, y, z)",
        r"component|permut|rotated|roll|shift|\border|concat|put together|\bcat\b|columns|wxyz|xyzw|x, y, z, w",
    ),
    (
        "ray_box",
        " * (leave > enter)",
        "",
        "the mask of the clamp is forgotten: rays that miss the box count, too",
        r"mask|clamp|relu|kink|\b(in)?active|miss the box|rows? .*zero|max\(|indicator",
    ),
    (
        "ray_box",
        "-(grad_a * a + grad_b * b)",
        "-(grad_a * a)",
        "the upper faces are left out of the gradient of the direction",
        r"left out|omitted|lacks|(term|part|path|face).*(forgotten|missing)|one (term|path|use|way|of)"
        r"|only (one|the lower)|upper|\bb\b",
    ),
    (
        "screened_energy",
        "force.sum(1) - force.sum(0)",
        "2 * force.sum(1)",
        "the reaction is taken to equal the action: the second sum is over the wrong axis",
        r"reaction|symmetr|ax[ei]s|sum\(0\)|sum\(1\)|transpos|twice|doubl|second (sum|use|term)"
        r"|other (end|particle|side|charge)|columns?|one (of|use)|sum.*(left out|missing|forgotten)|\bpair",
    ),
    (
        "screened_energy",
        "(1 + 1 / r)",
        "(1 / r)",
        "the derivative of the screening, exp(−r), is left out",
        r"screen|exp|product rule|1 \+ 1 ?/ ?r|left out|omitted|forgotten|missing|lacks|one (term|factor)",
    ),
    (
        "decimate",
        "2 * t : 2 * t + 4",
        "t : t + 4",
        "the stride is forgotten where the frames are put back",
        r"stride|step|hop|2 ?\* ?t|wrong (place|position|index|offset)|position|shift|offset|spac",
    ),
    (
        "decimate",
        "grad_taps.flip(0)",
        "grad_taps",
        "the flip of the taps is forgotten in their gradient",
        r"flip|revers|mirror|\border|correlation|turned|backwards|permut",
    ),
    (
        "log_spectrum",
        "- (g * imaginary)",
        "+ (g * imaginary)",
        "the sign of the imaginary part is wrong",
        r"\bsign|minus|negat|opposite|conjugat",
    ),
    (
        "log_spectrum",
        "(real.square() + imaginary.square() + 0.5)",
        "(real.square() + imaginary.square())",
        "the constant within the logarithm is forgotten",
        r"0\.5|\beps|constant|floor|offset|within the log|stabili|added|denominator|power",
    ),
    (
        "mixture_likelihood",
        "(z.square() - 1)",
        "z.square()",
        "the −1 of the normalization is left out of the gradient of log_std",
        r"[-−] ?1\b|left out|forgotten|missing|omitted|lacks|normali[sz]ation|log[- ]?(det|std)|constant"
        r"|one (term|path|use|way)",
    ),
    (
        "mixture_likelihood",
        "joint.softmax(1)",
        "joint.softmax(0)",
        "the responsibilities are normalized over the points in place of the components",
        r"ax[ei]s|dimension|softmax\(0\)|over the (points|batch|samples|rows)|transpos|columns?|normalized over",
    ),
    (
        "quantile_loss",
        "levels, levels - 1",
        "levels, 1 - levels",
        "the sign is wrong where the prediction is too high",
        r"\bsign|minus|negat|opposite|absolute",
    ),
    (
        "quantile_loss",
        "excess.numel()",
        "len(excess)",
        "the mean is divided by the number of rows in place of that of all elements",
        r"mean|divi|number of|numel|count|factor|\b5\b|five|rows|batch|size",
    ),
    (
        "weighted_bce",
        "scale * weight[:, None]",
        "scale * weight",
        "the rows' weights are broadcast along the columns",
        r"broadcast|along|wrong ax[ei]s|rows? .*columns?|columns? .*rows?|transpos|per[- ](row|column)|\[:, none\]",
    ),
    (
        "weighted_bce",
        "((1 - labels) * p - positive * labels * (1 - p))",
        "(p - labels)",
        "the factor of the positives is forgotten in the gradient of the logits",
        r"positive|pos_weight|factor|scal|unweighted|class|(each|per|of a|by) columns?",
    ),
    (
        "weighted_bce",
        "(each.sum(1) - out)",
        "each.sum(1)",
        "the dependence through the sum of the weights, the denominator, is left out",
        r"denominator|left out|constant|quotient|through|total|normali[sz]|sum of (the )?weights|cent(er|r)(ed|ing)"
        r"|omitted|lacks",
    ),
    (
        "factorization_machine",
        " - x * v.square().sum(1)",
        "",
        "the products of features with themselves are not taken off",
        r"themselves|self|diagonal|left out|omitted|lacks|(term|part|path|product|summand).*(forgotten|missing)"
        r"|sum of squares|one (term|path|use|way)|second term",
    ),
    (
        "factorization_machine",
        "x.square().mT @ g",
        "x.mT @ g",
        "the square of x is forgotten in the gradient of v",
        r"\bsquare of|squared|x(²|\^2|\*\*2)|\bpower|saved value|x in place|x instead|exponent"
        r"|x stands in for",
    ),
    (
        "graph_conv",
        "index_add(0, source, share",
        "index_add(0, target, share",
        "what came from the source is added at the target",
        r"target|source|wrong (index|end|node|place|row|position)|swap|\bindex|transpos|direction|scatter|gather",
    ),
    (
        "graph_conv",
        "r**3 / 2",
        "r / 2",
        "the power of the derivative of rsqrt is wrong",
        r"rsqrt|\bpower|derivative of|exponent|r(³|\^3|\*\*3)|3/2|1\.5|cube|degree ?\*\*|per node|inner derivative",
    ),
    (
        "graph_conv",
        " + grad_degree[target]",
        "",
        "the degrees are taken for constants",
        r"degree.*constant|constant|left out|omitted|forgotten|missing|lacks|through the (degree|normali|denominator)"
        r"|one (term|path|use|way)|denominator|detach",
    ),
    (
        "relative_attention",
        "distance.flatten()",
        "distance.mT.flatten()",
        "the distance has the opposite sign: the table's gradient is reversed",
        r"revers|flip|mirror|transpos|opposite|\bsign of the (dist|ind)|swap|\border|permut"
        r"|wrong (index|indices|place|position|element|entr)",
    ),
    (
        "relative_attention",
        "grad_scores.sum(0)",
        "grad_scores.mean(0)",
        "a mean over the batch in place of the sum",
        r"mean (in place|instead|for|over|taken)|(in place|instead) of (the |a )?sum|batch|third|\b3\b|0\.33|1/3|divi",
    ),
    (
        "relative_attention",
        "(grad_p * p).sum(2, keepdim=True)",
        "(grad_p * p).sum(1, keepdim=True)",
        "the sum of the softmax's derivative is over the wrong axis",
        r"ax[ei]s|dimension|sum\(1\)|over the quer|softmax|along|columns?|jacobian|transpos",
    ),
    (
        "sigmoid_attention",
        "keep[:, None]).mT",
        "keep[:, :, None]).mT",
        "the queries are masked in place of the keys in the gradient of v",
        r"quer.*(mask|key)|transpos|\bax[ei]s|broadcast|rows? .*columns?|columns? .*rows?|along|dimension",
    ),
    (
        "sigmoid_attention",
        "grad_s * s * (1 - s)",
        "s * (grad_s - (grad_s * s).sum(2, keepdim=True))",
        "the derivative of the softmax in place of that of the sigmoid",
        r"sigmoid|softmax|jacobian|activation|derivative of (the|an)|1 [-−] s",
    ),
    (
        "sigmoid_attention",
        " * keep.unsqueeze(1)",
        "",
        "the mask of the padding is forgotten in the gradients of q and k",
        r"mask (of|is|was|forgot|missing|not)|(forgotten|missing|without|omitted|no|lacks|dropped)\b.*\bmask|padding"
        r"|\bkeep\b|padded",
    ),
    (
        "group_rms",
        "(g * hat).mean(2, keepdim=True)",
        "(g * hat).mean((1, 2), keepdim=True)",
        "the mean is over all channels in place of the group's",
        r"all (channels|groups)|whole|(per|each|within|the|of a) group|group's|ax[ei]s|dimension|over the|wrong mean",
    ),
    (
        "group_rms",
        "(grad_out * hat.flatten(1))",
        "(grad_out * x)",
        "the input in place of the normalized one in the gradient of the weight",
        r"input|normali[sz]|saved|x (in place|instead|for)|scal|raw|divi|\bhat\b|(by|of) the (rms|root)"
        r"|grad_out·x",
    ),
    (
        "sharp_pool",
        "(sharpness[:, None] * flat).softmax(2)",
        "flat.softmax(2)",
        "the sharpness is forgotten within the softmax",
        r"sharpness.*(forgotten|within)|(without|forgot|lacks|forgotten|missing|no) (the |its |a )?(sharpness|temp)"
        r"|temperature|softmax|scal|inside|argument|factor",
    ),
    (
        "sharp_pool",
        "((p * flat).sum(2) - out)",
        "(p * flat).sum(2)",
        "one of two paths to the sharpness is left out: that through the division",
        r"left out|omitted|lacks|(term|part|path|out|summand)\b.*(forgotten|missing)|quotient|denominator|division"
        r"|through|one (of|term|path|use|way)|[-−] out",
    ),
    (
        "soft_spikes",
        " - grad_carried * charges[t]",
        "",
        "the dependence of the next charge on the reset by the spike is left out",
        r"reset|left out|omitted|lacks|detach|constant|one (term|path|use|way)|path|through|forgotten",
    ),
    (
        "soft_spikes",
        "* carried[t]).sum(0)",
        "* charges[t]).sum(0)",
        "the charge after the step in place of what was carried into it",
        r"after|before|previous|earlier|later|saved|wrong (state|step|time|value|charge)|off[- ]by[- ]one|shift"
        r"|one step|in place of",
    ),
    (
        "soft_spikes",
        "grad_decay * decay * (1 - decay)",
        "grad_decay",
        "the derivative of the decay's sigmoid is missing",
        r"sigmoid|decay ?\*|1 [-−] decay|chain|inner|activation|derivative of (the|an)|per channel|each channel",
    ),
    (
        "minimal_rnn",
        "before[:, t].mT @",
        "out[:, t].mT @",
        "the state after the step in place of the one before it",
        r"after|before|previous|earlier|later|saved|wrong (state|step|time|value)|off[- ]by[- ]one|shift|one step"
        r"|the result of add .* stands in for",
    ),
    (
        "minimal_rnn",
        "grad_gate @ u.mT",
        "grad_gate @ u",
        "the recurrent matrix is not transposed",
        r"transpos|\.m?T\b|ᵀ|swap|rows? .*columns?",
    ),
    (
        "matrix_root",
        "(root[:, None] + root)",
        "(2 * root)",
        "the derivative of the square root is taken element by element, as if the eigenvectors were fixed",
        r"element|fixed|constant|sylvester|commut|divided difference|broadcast|columns?|root ?\+"
        r"|sum of (the |two )?root|denominator|twice|symmetr|eigenvectors? (were|are|taken|held|do)|through the eigen",
    ),
    (
        "matrix_root",
        "vectors.mT @ grad_out @ vectors",
        "vectors @ grad_out @ vectors.mT",
        "the change to the basis of the eigenvectors is the inverse one",
        r"transpos|\bbasis|inverse|swap|\border|rotat|turned|\.m?T\b|ᵀ",
    ),
]
