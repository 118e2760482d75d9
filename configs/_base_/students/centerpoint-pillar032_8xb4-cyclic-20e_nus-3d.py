# CenterPoint with pillars of 0.32 m: 320 x 320 of them, and maps of 80 x 80.
_base_ = ('mmdet3d::centerpoint/'
          'centerpoint_pillar02_second_secfpn_head-circlenms_8xb4-cyclic-20e_nus-3d.py')
voxel_size = [0.32, 0.32, 8]
model = dict(
    data_preprocessor=dict(voxel_layer=dict(voxel_size=voxel_size)),
    pts_voxel_encoder=dict(voxel_size=voxel_size),
    pts_middle_encoder=dict(output_shape=(320, 320)),
    pts_bbox_head=dict(bbox_coder=dict(voxel_size=voxel_size[:2])),
    train_cfg=dict(pts=dict(grid_size=[320, 320, 1], voxel_size=voxel_size)),
    test_cfg=dict(pts=dict(voxel_size=voxel_size[:2])))
