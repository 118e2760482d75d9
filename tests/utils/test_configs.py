"""Finding and reading configs."""
import pytest
from mmengine.config import Config

from mmkd.utils.configs import load_model_config, read_config

ZOO = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'


def test_a_path_a_name_and_a_dict_are_the_same(tmp_path):
    zoo = read_config(ZOO)
    zoo.dump(str(tmp_path / 'mine.py'))
    assert read_config(str(tmp_path / 'mine.py')).model == zoo.model
    assert read_config(tmp_path / 'mine.py').model == zoo.model
    assert read_config(dict(model=zoo.model)).model == zoo.model
    assert read_config(zoo) is zoo
    assert read_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model.type == 'RetinaNet'


@pytest.mark.parametrize('source, error, parts', [
    ('configs/none.py', FileNotFoundError, ["config 'configs/none.py' does not exist"]),
    ('nowhere/none.py', FileNotFoundError, ["nor does the folder 'nowhere'", 'mmseg::']),
    ('mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscape-512x1024.py', FileNotFoundError,
     ["mmseg has no config", "did you mean 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes"]),
    ('mmsegg::a/b.py', FileNotFoundError, ["package 'mmsegg'", 'not installed']),
    ('::a.py', FileNotFoundError, ['not installed']),
    (3, ValueError, ['a config is a path', 'not 3']),
    (None, ValueError, ['a config is a path', 'not None']),
])
def test_what_is_not_there(source, error, parts):
    with pytest.raises(error) as info:
        read_config(source, 'teacher')
    for part in ['teacher: ', *parts]:
        assert part in str(info.value)


def test_near_files_are_named(tmp_path):
    (tmp_path / 'student.py').write_text('model = dict()')
    with pytest.raises(FileNotFoundError, match="did you mean 'student.py'"):
        read_config(tmp_path / 'studnet.py')


def test_the_folder_is_seldom_what_is_wrong():
    with pytest.raises(FileNotFoundError) as info:
        read_config('mmseg::fastscnn/fast_scnn_8xb4-160k_cityscape-512x1024.py')
    assert "did you mean 'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py'" in str(info.value)
    with pytest.raises(FileNotFoundError) as info:
        read_config('mmseg::fastscnn/nope.py')
    assert 'dsdl' not in str(info.value)


@pytest.mark.parametrize('text', ['model = dict(', 'raise RuntimeError("no")',
                                  "_base_ = ['missing.py']"])
def test_a_file_that_is_no_config(tmp_path, text):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(ValueError, match='student: .*bad.py.* is no config'):
        read_config(tmp_path / 'bad.py', 'student')


def test_model_and_scope(tmp_path):
    model, scope = load_model_config(ZOO)
    assert model.type == 'EncoderDecoder' and scope == 'mmseg'
    bare = dict(type='EncoderDecoder', backbone=dict())
    assert load_model_config(bare) == (bare, None)
    with pytest.raises(ValueError, match='teacher: the config has no model'):
        load_model_config(dict(data=1), 'teacher')


def test_a_distill_config_stands_for_its_student(tmp_path):
    student = dict(type='EncoderDecoder', backbone=dict(depth=18))
    distill = dict(type='mmkd.OfflineDistiller', student=student, teacher=dict(config=ZOO))
    Config(dict(model=distill, default_scope='mmseg')).dump(str(tmp_path / 'd.py'))
    assert load_model_config(tmp_path / 'd.py') == (student, 'mmseg')
    by_name = dict(distill, student=dict(config=ZOO))
    assert load_model_config(by_name)[0].decode_head.type == 'PSPHead'
    assert load_model_config(by_name)[1] == 'mmseg'


def test_a_preprocessor_beside_the_model_belongs_to_it():
    cfg = dict(model=dict(type='EncoderDecoder'), data_preprocessor=dict(mean=[1.]))
    assert load_model_config(cfg)[0]['data_preprocessor'] == dict(mean=[1.])
    cfg['model']['data_preprocessor'] = dict(mean=[2.])
    assert load_model_config(cfg)[0]['data_preprocessor'] == dict(mean=[2.])
