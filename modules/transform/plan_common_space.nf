process PLAN_COMMON_SPACE {
    label 'process_single'

    input:
    tuple path(volumes), path(manifests)
    path shifts_xy
    path(config, stageAs: 'given/*')
    path(listed, stageAs: 'listed/*')
    val flags

    output:
    path 'common_space.json', emit: common_space
    path 'published/bring_to_common_space/common_space.csv', emit: offsets
    path 'published/bring_to_common_space/slice_config.csv', emit: config
    path 'slices.csv', emit: slices
    path 'gaps.csv', emit: gaps
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    plan_common_space.py ${flags} ${volumes ? "--volumes ${volumes}" : ''} --shifts_xy ${shifts_xy} --config ${config} --listed ${listed} --common_space common_space.json --offsets published/bring_to_common_space/common_space.csv --stamped published/bring_to_common_space/slice_config.csv --slice_list slices.csv --gap_list gaps.csv
    """

    stub:
    """
    stub.sh common_space.json published/bring_to_common_space/common_space.csv published/bring_to_common_space/slice_config.csv 'slices.csv=id,slice\\nz00,0\\nz02,2' 'gaps.csv=id,slice,before,after\\nz01,1,z00,z02' plan_common_space.provenance.json
    """
}
