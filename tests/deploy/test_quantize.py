"""8 bits and half precision of a segmentor, through the command and node by node."""
import os
import re

import numpy as np
import onnx
import pytest
from mmengine.config import Config
from onnx import TensorProto, helper

from mmkd.deploy.command import Deployment
from mmkd.deploy.export import Exported
from mmkd.deploy.half import to_fp16
from mmkd.deploy.network import Network
from mmkd.deploy.quantize import calibration_inputs, to_int8, training_set
from mmkd.deploy.variants import refuse_nan
from tests.deploy.trained import PICTURES, write_trained_segmentor


@pytest.fixture(scope='module')
def deployed(tmp_path_factory):
    """(Deployment, report, folder) of a trained segmentor with both smaller forms."""
    folder = tmp_path_factory.mktemp('trained')
    config, weights = write_trained_segmentor(folder)
    deployment = Deployment(config, weights, forms=['int8', 'fp16'], calibration_samples=PICTURES,
                            say=lambda line: None)
    return deployment, deployment.run(folder / 'out'), folder / 'out'


def check(report, form, name):
    return next(one['value'] for one in report['variants'][form]['checks'] if one['name'] == name)


def agreement(deployment, _, folder, form):
    """Share of mask pixels as PyTorch has them, on the pictures that the model has learned."""
    scratch = folder / f'scratch_{form}'
    scratch.mkdir()
    exported = Exported(deployment.fed, deployment.deploy_cfg,
                        str(folder / f'end2end_{form}.onnx'), str(scratch))
    learned = training_set(deployment.fed)
    found = [deployment.task.compare(deployment.student.model, exported, learned[i])
             for i in range(len(learned))]
    return sum(one['equal'] for one in found) / sum(one['pixels'] for one in found)


def test_int8_is_small_and_agrees(deployed):
    _, report, folder = deployed
    size = {name: os.path.getsize(folder / f'end2end{name}.onnx') for name in ('', '_int8')}
    assert size['_int8'] < 0.35 * size['']
    assert report['variants']['int8']['file_bytes'] == size['_int8']
    assert agreement(*deployed, 'int8') > 0.97
    # It is not the float32 file under another name.
    assert check(report, 'int8', 'largest difference of logits') > 1e-3
    lost = report['metric']['values']['aAcc'][0] - report['variants']['int8']['metric']['aAcc']
    assert abs(lost) < 2


def test_fp16_is_half_and_agrees_better(deployed):
    _, report, folder = deployed
    ratio = os.path.getsize(folder / 'end2end_fp16.onnx') / os.path.getsize(folder / 'end2end.onnx')
    assert 0.49 < ratio < 0.55
    assert agreement(*deployed, 'fp16') > 0.998
    int8, fp16 = (check(report, form, 'largest difference of logits') for form in ('int8', 'fp16'))
    assert 1e-5 < fp16 < 0.1 * int8


def test_inputs_outputs_and_the_last_layer_stay_float32(deployed):
    _, _, folder = deployed
    whole = onnx.load(folder / 'end2end.onnx').graph
    for form in ('int8', 'fp16'):
        model = onnx.load(folder / f'end2end_{form}.onnx')
        onnx.checker.check_model(model)
        for ends in ('input', 'output'):
            assert [one.type.tensor_type.elem_type for one in getattr(model.graph, ends)] == \
                [one.type.tensor_type.elem_type for one in getattr(whole, ends)]
    quantized = onnx.load(folder / 'end2end_int8.onnx').graph
    # mmseg's classifier: what it computes is resized and compared as it is.
    last = [node for node in quantized.node if node.op_type == 'Conv'][-1]
    weights = {tensor.name: tensor.data_type for tensor in quantized.initializer}
    assert weights[last.input[1]] == TensorProto.FLOAT
    behind = {node.op_type for node in list(quantized.node)[list(quantized.node).index(last):]}
    assert not behind & {'QuantizeLinear', 'DequantizeLinear'}
    assert sum(kind == TensorProto.FLOAT and name.endswith('weight')
               for name, kind in weights.items()) == 1


def test_weights_have_a_scale_per_channel(deployed):
    graph = onnx.load(deployed[2] / 'end2end_int8.onnx').graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    found = [(tensors[node.input[0]], tensors[node.input[1]]) for node in graph.node
             if node.op_type == 'DequantizeLinear' and node.input[0] in tensors
             and tensors[node.input[0]].data_type == TensorProto.INT8]
    assert len(found) > 20
    for weight, scale in found:
        assert list(scale.dims) == [weight.dims[0]], weight.name


def test_report_has_a_column_for_each(deployed):
    text = (deployed[2] / 'report.md').read_text()
    table = text[text.index('## Smaller forms'):]
    assert '|  | float32 | int8 | fp16 |' in table
    for row in ('file', 'equal mask pixels', 'mIoU', 'latency'):
        assert re.search(rf'^\| {row} \|', table, re.MULTILINE), row
    assert f'{PICTURES} samples of the training set' in table


def test_calibration_reads_the_training_set_as_the_model_is_tested(deployed):
    deployment = deployed[0]
    dataset = training_set(deployment.fed)
    paths = [dataset[i]['data_samples'].img_path for i in range(len(dataset))]
    assert len(paths) == PICTURES and all(os.sep + 'train' + os.sep in path for path in paths)
    sample = dataset[0]  # the training pipeline crops to 32 x 32
    assert tuple(sample['inputs'].shape) == (3, 48, 64)

    # What reaches the file is normalized by the model's own preprocessor.
    exported = Exported(deployment.fed, deployment.deploy_cfg,
                        str(deployed[2] / 'end2end.onnx'), str(deployed[2]))
    got = list(calibration_inputs(exported, deployment.fed, 3))
    assert len(got) == 3
    mean, std = (np.reshape(deployment.cfg.model.data_preprocessor[key], (3, 1, 1))
                 for key in ('mean', 'std'))
    rgb = sample['inputs'].numpy()[::-1]
    np.testing.assert_allclose(got[0]['input'][0], (rgb - mean) / std, rtol=1e-4, atol=1e-5)
    assert len(list(calibration_inputs(exported, deployment.fed, 1000))) == PICTURES


WRAPPED = dict(type='RepeatDataset', times=3, dataset=dict(
    type='ConcatDataset', datasets=[dict(type='A', pipeline=['train']),
                                    dict(type='B', pipeline=['train'])]))


@pytest.mark.parametrize('dataset, kinds', [
    (WRAPPED, ['A', 'B']), (dict(type='A', pipeline=['train']), ['A']),
    (dict(type='MultiImageMixDataset', pipeline=['mosaic'],
          dataset=dict(type='A', pipeline=['train'])), ['A'])])
def test_wrappers_do_not_augment(monkeypatch, dataset, kinds):
    built = []
    monkeypatch.setattr('mmkd.deploy.quantize.DATASETS.build', built.append)
    training_set(Config(dict(train_dataloader=dict(dataset=dataset), test_pipeline=['test'])))
    parts = built[0].get('datasets', built)
    assert [part.type for part in parts] == kinds
    assert all(part.pipeline == ['test'] and part.test_mode for part in parts)
    assert 'train' not in str(built) and 'mosaic' not in str(built)


def test_without_a_training_set_it_says_so(deployed, tmp_path):
    cfg = Config(dict(test_pipeline=deployed[0].cfg.test_pipeline))
    with pytest.raises(ValueError, match='no train_dataloader'):
        training_set(cfg)
    with pytest.raises(ValueError, match='there are none'):
        to_int8(str(deployed[2] / 'end2end.onnx'), str(tmp_path / 'x.onnx'), [])
    assert not (tmp_path / 'x.onnx').exists()


def graph_of(nodes, weights):
    """A model of nodes (type, inputs, output) on 'x' (1, 4, 8, 8), with weights (4, 4, 1, 1)."""
    made = [helper.make_node(kind, inputs, [output], domain=domain)
            for kind, inputs, output, domain in nodes]
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, (4, 4, 1, 1), np.full(16, value))
               for name, value in weights.items()]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4, 8, 8))
            for name in ('x', nodes[-1][2])]
    graph = helper.make_graph(made, 'g', info[:1], info[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 16),
                                                   helper.make_opsetid('mmdeploy', 1)],
                             ir_version=8)


def test_the_network_is_layers_and_what_lies_between():
    """A decoded branch that comes back as another layer's second input is not followed."""
    model = graph_of([('Sigmoid', ['x'], 's', ''), ('Conv', ['s', 'a'], 'c', ''),
                      ('Relu', ['c'], 'r', ''), ('Add', ['r', 's'], 'd', ''),
                      ('Conv', ['d', 'b'], 'e', ''), ('Exp', ['e'], 'f', ''),
                      ('Mul', ['f', 'e'], 'y', '')], dict(a=1., b=1.))
    network = Network(model.graph)
    kinds = {node.name: node.op_type for node in model.graph.node}
    assert sorted(kinds[name] for name in network.inside) == ['Add', 'Conv', 'Conv', 'Relu',
                                                              'Sigmoid']
    assert [kinds[name] for name in network.last] == ['Conv'] and network.last == {'Conv_4'}


def test_foreign_operators_are_refused_for_int8_alone(tmp_path):
    model = graph_of([('Conv', ['x', 'a'], 'c', ''), ('Strange', ['c'], 'd', 'mmdeploy'),
                      ('Conv', ['d', 'a'], 'y', '')], dict(a=1.))
    path = str(tmp_path / 'a.onnx')
    onnx.save(model, path)
    with pytest.raises(ValueError, match='mmdeploy::Strange'):
        to_int8(path, str(tmp_path / 'b.onnx'), [])
    assert not (tmp_path / 'b.onnx').exists()


def test_half_precision_that_overflows_is_refused():
    """1e5 is no float16; the command must not write what computes no numbers."""
    with pytest.raises(ValueError, match='65504'):
        refuse_nan('fp16', [dict(name='largest difference of logits', value=float('nan'))])
    refuse_nan('fp16', [dict(name='equal mask pixels', value=0.5)])


def test_around_the_network_nothing_is_rounded(tmp_path):
    """What goes past the network, into the graph and out of it, stays as it is to the last bit."""
    import onnxruntime
    model = graph_of([('Mul', ['x', 'x'], 'z', ''), ('Sqrt', ['z'], 'r', ''),
                      ('Conv', ['x', 'a'], 'c', ''), ('Exp', ['c'], 'd', ''),
                      ('Sin', ['c'], 'e', ''), ('Add', ['d', 'e'], 'f', ''),
                      ('Mul', ['f', 'n'], 'g', ''), ('Add', ['r', 'g'], 'y', '')],
                     dict(a=.1, n=0.))
    del model.graph.initializer[1].dims[:]
    model.graph.initializer[1].float_data[:] = [0.]
    source, target = str(tmp_path / 'a.onnx'), str(tmp_path / 'b.onnx')
    onnx.save(model, source)
    to_fp16(source, target)
    onnx.checker.check_model(target)
    x = np.random.default_rng(0).uniform(1, 1000, (1, 4, 8, 8)).astype(np.float32)
    one, other = (onnxruntime.InferenceSession(path).run(None, dict(x=x * 1e-2))[0]
                  for path in (source, target))
    assert one.dtype == other.dtype == np.float32
    np.testing.assert_array_equal(one, other)
    casts = [node for node in onnx.load(target).graph.node if node.op_type == 'Cast']
    assert len(casts) == 2  # one before the convolution, one behind it
