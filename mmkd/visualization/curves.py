"""Learning curves: mean and band over seeds, one colour per model."""
import statistics

from matplotlib.figure import Figure

#: Okabe and Ito's colours, which colour-blind readers can tell apart, then others
COLOURS = ('#000000', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#882255',
           '#999933', '#6699cc', '#117733', '#aa4499')


def draw_curves(path, panels, lines=(), title=None):
    """Write a picture of learning curves.

    Args:
        path (str): PNG to write.
        panels (dict): label of the vertical axis -> {model: list of {iteration: value}, one
            dict per seed}. Panels without a curve are left out.
        lines (dict): label of the vertical axis -> {model: value}: dashed horizontal lines.
        title (str, optional): Over all of it.

    Returns:
        str | None: ``path``; None if no panel has a curve.
    """
    panels = {label: curves for label, models in panels.items()
              if (curves := {name: mean_and_band(seeds) for name, seeds in models.items()
                             if any(len(seed) > 1 for seed in seeds)})}
    if not panels:
        return None
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    figure = Figure(figsize=(6.4 * len(panels), 4.6), dpi=120, layout='constrained')
    for axes, (label, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0],
                                     panels.items(), strict=True):
        for name, (steps, mean, spread) in curves.items():
            axes.plot(steps, mean, color=colour[name], label=name, linewidth=1.6,
                      linestyle='-' if names.index(name) < len(COLOURS) else ':')
            axes.fill_between(steps, [m - s for m, s in zip(mean, spread, strict=True)],
                              [m + s for m, s in zip(mean, spread, strict=True)],
                              color=colour[name], alpha=0.15, linewidth=0)
        values = [value for _, mean, _ in curves.values() for value in mean]
        span = max(values) - min(values)
        for name, value in dict(lines).get(label, {}).items():
            if min(values) - span <= value <= max(values) + span:
                axes.axhline(value, color='0.45', linestyle='--', linewidth=1.2, label=name)
            else:  # it would leave the curves no room
                axes.plot([], [], ' ', label=f'{name}: {value:.4g}, off the scale')
        if min(values) > 0 and max(values) > 30 * min(values):
            axes.set_yscale('log')
        axes.set(xlabel='iteration', ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.savefig(path)
    return path


def mean_and_band(seeds):
    """(iterations, mean, standard deviation) over the seeds, where all of them have a value.

    The deviation of a single seed is 0.
    """
    seeds = [seed for seed in seeds if seed]
    steps = [step for step in sorted(seeds[0]) if all(step in seed for seed in seeds)]
    columns = [[seed[step] for seed in seeds] for step in steps]
    return (steps, [statistics.fmean(column) for column in columns],
            [statistics.stdev(column) if len(column) > 1 else 0. for column in columns])
