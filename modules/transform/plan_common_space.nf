process PLAN_COMMON_SPACE {
    label 'process_single'

    input:
    tuple path(volumes), path(manifests)
    path shifts_xy
    path config
    val flags

    output:
    path 'common_space.json', emit: common_space
    path 'published/bring_to_common_space/common_space.csv', emit: offsets
    path 'slices.csv', emit: slices
    path 'gaps.csv', emit: gaps
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    plan_common_space.py ${flags} --volumes ${volumes} --shifts_xy ${shifts_xy} --config ${config} --common_space common_space.json --offsets published/bring_to_common_space/common_space.csv --slice_list slices.csv --gap_list gaps.csv
    """

    stub:
    """
    stub.sh common_space.json published/bring_to_common_space/common_space.csv 'slices.csv=id,slice\\nz00,0\\nz02,2' 'gaps.csv=id,slice,before,after\\nz01,1,z00,z02' plan_common_space.provenance.json
    """
}
